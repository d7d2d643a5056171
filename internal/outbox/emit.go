package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

const (
	sqlTake      = `UPDATE positions SET taken = taken + $1 WHERE id = 1 RETURNING taken`
	sqlTakeAfter = `UPDATE positions SET taken = CASE WHEN taken = $1 THEN taken + $2 ELSE NULL END WHERE id = 1`
)

// turn is what this process knows of the counter of positions, from its own commits.
type turn struct {
	last   int64 // position that it took
	streak int   // changes when somebody else took one in between
}

// took notes what a commit took.
func (t *turn) took(first, last int64) {
	if first != t.last+1 {
		t.streak++
	}
	t.last = last
}

// LastTaken gives the last position that this process took, and a number that changes
// whenever it turns out that another process took some in between. Only functions
// that write may call it.
func (ob *Outbox) LastTaken() (pos int64, streak int) { return ob.turn.last, ob.turn.streak }

// TakeAfter takes the n positions after last, provided that nobody took one after it:
// else missed is called and everything in the commit is done again.
func (ob *Outbox) TakeAfter(tx *sqldb.Tx, last int64, n int, missed func()) error {
	if err := tx.CheckLater(sqlTakeAfter, []any{last, int64(n)}, missed); err != nil {
		return fmt.Errorf("take positions: %w", err)
	}
	tx.AfterCommit(func() { ob.turn.took(last+1, last+int64(n)) })
	return nil
}

// Take takes the next n positions for the transaction, first to first+n-1. If it
// is rolled back, they go to the next one. All other writers of the database wait
// for the commit in any case.
func (ob *Outbox) Take(ctx context.Context, tx *sqldb.Tx, n int) (first int64, err error) {
	if n <= 0 {
		return 0, fmt.Errorf("take %d positions: want at least one", n)
	}
	if mutant.PositionEarly {
		return ob.takeEarly(ctx, tx, int64(n))
	}
	var last int64
	if err := tx.QueryRow(ctx, sqlTake, int64(n)).Scan(&last); err != nil {
		return 0, fmt.Errorf("take positions: %w", err)
	}
	first = last - int64(n) + 1
	tx.AfterCommit(func() { ob.turn.took(first, last) })
	return first, nil
}

// Positions are what a transaction takes before it knows how many it needs.
type Positions struct {
	ob  *Outbox
	n   int
	row sqldb.Row
}

// TakeLater takes n positions with the next statement.
func (ob *Outbox) TakeLater(tx *sqldb.Tx, n int) *Positions {
	if mutant.PositionEarly {
		return &Positions{ob: ob}
	}
	return &Positions{ob, n, tx.QueryRowLater(sqlTake, int64(n))}
}

// First gives the first of the positions and gives back all but so many, so that
// there are none without an event.
func (p *Positions) First(ctx context.Context, tx *sqldb.Tx, wanted int) (first int64, err error) {
	if mutant.PositionEarly {
		return p.ob.Take(ctx, tx, wanted)
	}
	var last int64
	if err := p.row.Scan(&last); err != nil {
		return 0, fmt.Errorf("take positions: %w", err)
	}
	if over := p.n - wanted; over > 0 {
		if err := tx.ExecLater(`UPDATE positions SET taken = taken - $1 WHERE id = 1`, int64(over)); err != nil {
			return 0, fmt.Errorf("give positions back: %w", err)
		}
	}
	first = last - int64(p.n) + 1
	tx.AfterCommit(func() { p.ob.turn.took(first, first+int64(wanted)-1) })
	return first, nil
}

// Emit publishes events if and when the transaction is committed; it is the only
// way to publish one. What is empty in an envelope is filled in: an ID, the
// present time, the context's correlation and trace, and a position, which makes
// it later than everything that took one before. The given slice stays as it is, and
// must do so until it is published.
func (ob *Outbox) Emit(ctx context.Context, tx *sqldb.Tx, batch ...bus.Envelope) error {
	if len(batch) == 0 {
		return nil
	}
	if slices.ContainsFunc(batch, lacks) {
		batch = slices.Clone(batch)
	}
	if err := ob.fill(ctx, tx, batch); err != nil {
		return err
	}
	if err := ob.insert(ctx, tx, batch); err != nil {
		return err
	}
	tx.AfterCommit(func() { ob.hand(batch) })
	return nil
}

// hand gives committed events to the relays. It runs on the writer's goroutine.
func (ob *Outbox) hand(batch []bus.Envelope) {
	if len(ob.all) == 0 {
		return
	}
	ob.tail.add(batch, true)
	ob.wake()
	if ob.teller != nil {
		ob.teller.add(batch)
	}
}

// Hear takes events that other processes committed to the database, in any
// order. It saves reading them; those that never come are read. Events of this
// process, and what was heard before, change nothing.
func (ob *Outbox) Hear(batch []bus.Envelope) {
	if ob.tail.add(batch, false) {
		ob.wake()
	}
}

func (ob *Outbox) wake() {
	for _, r := range ob.all {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (ob *Outbox) fill(ctx context.Context, tx *sqldb.Tx, batch []bus.Envelope) error {
	var next int64
	if n := unplaced(batch); n > 0 {
		first, err := ob.Take(ctx, tx, n)
		if err != nil {
			return err
		}
		next = first
	}
	for i := range batch {
		e := &batch[i]
		if e.ID == "" {
			e.ID = id.New()
		}
		if e.At.IsZero() {
			e.At = time.Now()
		}
		if e.Correlation == "" {
			e.Correlation, e.Trace = cause(ctx), obs.TraceFrom(ctx)
		}
		if e.Pos == 0 {
			e.Pos = next
			next++
		}
		if err := e.Validate(); err != nil {
			return fault.Wrap(fault.CodeInternal, err, "") // a defect of Nova's, not of the caller's
		}
	}
	return nil
}

// lacks says that there is something to fill in.
func lacks(e bus.Envelope) bool {
	return e.ID == "" || e.At.IsZero() || e.Correlation == "" || e.Pos == 0
}

func unplaced(batch []bus.Envelope) (n int) {
	for i := range batch {
		if batch[i].Pos == 0 {
			n++
		}
	}
	return n
}

func cause(ctx context.Context) obs.Correlation {
	if c := obs.CorrelationFrom(ctx); c != "" {
		return c
	}
	return obs.NewCorrelation()
}

var outboxColumns = []string{"pos", "id", "type", "event_key", "seq", "at_ms", "correlation_id", "origin", "payload"}

func (ob *Outbox) insert(ctx context.Context, tx *sqldb.Tx, batch []bus.Envelope) error {
	var args []any
	for i := range batch {
		e := &batch[i]
		if ob.derived(e.Type) {
			continue
		}
		payload := e.Payload
		if payload == nil {
			payload = []byte{} // nil would be NULL
		}
		args = append(args, e.Pos, e.ID, e.Type, e.Key, e.Seq, e.At.UnixMilli(), string(e.Correlation), e.Origin, payload)
	}
	if len(args) == 0 {
		return nil
	}
	if err := tx.Insert(ctx, "outbox", outboxColumns, args); err != nil {
		return fmt.Errorf("insert into the outbox: %w", err)
	}
	return nil
}
