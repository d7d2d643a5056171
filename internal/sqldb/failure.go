package sqldb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// ErrNoRows is what Scan gives when a query for one row found none.
var ErrNoRows = errors.New("no rows")

// IsUnique says whether err is that a row with the same unique columns exists.
// The write that got it is over: it can only be refused.
func IsUnique(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.unique
}

// failure is what went wrong in the engine. Its text holds no arguments and no
// file names: what the driver says is kept only where the statement itself is
// wrong, which is a defect of Nova's.
type failure struct {
	reason       obs.StoreReason
	code         int    // the engine's own number
	state        string // PostgreSQL's SQLSTATE
	unique       bool
	absent       bool // a row that another refers to
	null         bool // where there may be none
	engine       bool // the transaction or the connection is no longer to be trusted
	sync         bool // what was believed to be on the disk may not be there
	retryable    bool // nothing was committed, and the same transaction may succeed now
	cut          bool // it was broken off, for reasons that the engine does not know
	lost         bool // the connection should be replaced
	redo         redo // everything in the commit is to be done again
	beforeCommit bool // it came before the commit that was sent along
	text         string
}

// Error is part of error.
func (f *failure) Error() string {
	s := "database: " + f.reason.String()
	switch {
	case f.state != "":
		s += " (" + f.state + ")"
	case f.code != 0:
		s += fmt.Sprintf(" (%d)", f.code)
	}
	if f.text != "" {
		s += ": " + f.text
	}
	return s
}

// wrapDriver replaces an error of the driver by a failure.
func wrapDriver(err error) error {
	if err == nil {
		return nil
	}
	return classify(err)
}

func classify(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if m, ok := errors.AsType[*misfit](err); ok {
		return &failure{reason: obs.StoreUnreachable, engine: true, lost: true, text: m.Error()}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{reason: obs.StoreTimeout, engine: true}
	case errors.Is(err, context.Canceled):
		return &failure{reason: obs.StoreCanceled, engine: true}
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return judgeSQLite(e)
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return judgePostgres(e)
	}
	return &failure{reason: obs.StoreUnknown, text: err.Error()}
}

// fault is what callers see of it.
func (f *failure) fault() *fault.Error {
	switch f.reason {
	case obs.StoreFull:
		return fault.Wrap(fault.CodeStorageFull, f, "")
	case obs.StoreTimeout:
		return fault.Wrap(fault.CodeTimeout, f, "")
	case obs.StoreCanceled:
		return fault.Wrap(fault.CodeCanceled, f, "")
	case obs.StoreConstraint:
		return fault.Wrap(f.constraint(), f, "")
	case obs.StoreUnknown:
		return fault.Wrap(fault.CodeInternal, f, "")
	default:
		return fault.Wrap(fault.CodeUnavailable, f, "")
	}
}

// constraint: that a row exists, or that another is missing, may be the doing
// of somebody else; a value that the schema forbids is a defect of Nova's.
func (f *failure) constraint() fault.Code {
	if f.unique || f.absent {
		return fault.CodeConflict
	}
	return fault.CodeInternal
}

// because replaces an error by that of the context, if that is why. The times of
// both may be the same, and the connection's be over a little earlier.
func because(ctx context.Context, err error) error {
	if err == nil || !classify(err).cut {
		return err
	}
	if end := ctx.Err(); end != nil {
		return end
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < 5*time.Millisecond {
		return context.DeadlineExceeded
	}
	return err
}

// redo is why everything in a commit is to be done again: something that was said to
// be hardly ever so.
type redo uint8

const (
	noRedo     redo = iota
	redoTaken       // a row of [Tx.InsertLater] was there already
	redoMissed      // what [Tx.CheckLater] looks at is not so
	redos
)

// as says of an error of such a statement that it is to be done again, if that is why.
func (r redo) as(err error) error {
	if err == nil || r == noRedo {
		return err
	}
	f := *classify(err)
	if r == redoTaken && !f.unique || r == redoMissed && !f.null {
		return err
	}
	f.redo, f.retryable = r, true
	if r == redoMissed {
		f.reason = obs.StoreBusy // somebody else was first, and nothing is wrong
	}
	return &f
}
