package sqldb

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

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
	reason obs.StoreReason
	code   int // the engine's own number
	unique bool
	engine bool // the transaction or the connection is no longer to be trusted
	sync   bool // what was believed to be on the disk may not be there
	text   string
}

// Error is part of error.
func (f *failure) Error() string {
	s := fmt.Sprintf("database: %s (%d)", f.reason, f.code)
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
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{reason: obs.StoreTimeout, engine: true}
	case errors.Is(err, context.Canceled):
		return &failure{reason: obs.StoreCanceled, engine: true}
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return &failure{reason: obs.StoreUnknown, text: err.Error()}
	}
	f := &failure{reason: obs.StoreUnknown, code: e.Code()}
	f.judge(e)
	return f
}

// judge reads the engine's number. Everything is the engine's failure that is
// not about one statement alone.
func (f *failure) judge(e *sqlite.Error) {
	f.engine = true
	switch f.code & 0xff {
	case lib.SQLITE_CONSTRAINT:
		f.reason, f.engine = obs.StoreConstraint, false
		f.unique = f.code == lib.SQLITE_CONSTRAINT_UNIQUE || f.code == lib.SQLITE_CONSTRAINT_PRIMARYKEY || f.code == lib.SQLITE_CONSTRAINT_ROWID
	case lib.SQLITE_ERROR, lib.SQLITE_MISMATCH, lib.SQLITE_RANGE, lib.SQLITE_TOOBIG:
		f.engine, f.text = false, e.Error()
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		f.reason = obs.StoreBusy
	case lib.SQLITE_FULL:
		f.reason = obs.StoreFull
	case lib.SQLITE_INTERRUPT:
		f.reason = obs.StoreTimeout
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		f.reason = obs.StoreCorrupt
	case lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM, lib.SQLITE_READONLY, lib.SQLITE_PROTOCOL:
		f.reason = obs.StoreUnreachable
		f.sync = f.code == lib.SQLITE_IOERR_FSYNC || f.code == lib.SQLITE_IOERR_DIR_FSYNC
	}
}

// interrupted says whether the statement was broken off, for reasons that the
// engine does not know.
func (f *failure) interrupted() bool { return f.code&0xff == lib.SQLITE_INTERRUPT }

// broken says whether the connection should be replaced.
func (f *failure) broken() bool {
	return f.reason == obs.StoreUnreachable || f.reason == obs.StoreCorrupt
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
	if f.unique || f.code == lib.SQLITE_CONSTRAINT_FOREIGNKEY {
		return fault.CodeConflict
	}
	return fault.CodeInternal
}
