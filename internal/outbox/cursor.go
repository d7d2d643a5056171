package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

const (
	rideEvery  = 100 * time.Millisecond // saving cursors and deleting rows, when something is committed anyway
	sweepRows  = 2048                   // deleted at once
	watchEvery = 500 * time.Millisecond // asking the database for what nobody handed over
	keepShared = 10 * time.Minute       // rows that other processes may still have to follow
	relayStop  = 5 * time.Second
	drainStop  = 5 * time.Second // what is left is what was committed while the service ended
	saveTime   = 2 * time.Second
	askEvery   = 50 * time.Millisecond // in a drain, how far the process is that relays

	sqlAddCursor  = `INSERT INTO outbox_cursors (sink, pos) VALUES ($1, 0) ON CONFLICT (sink) DO NOTHING`
	sqlCursor     = `SELECT pos FROM outbox_cursors WHERE sink = $1`
	sqlMoveCursor = `UPDATE outbox_cursors SET pos = $1 WHERE sink = $2 AND pos < $1`
	sqlSweep      = `DELETE FROM outbox WHERE pos IN (SELECT pos FROM outbox WHERE pos <= $1 AND at_ms <= $2 ORDER BY pos LIMIT $3)`
)

// Start starts the relays. Whoever consumes in this process must be there
// already; on stop, the relays drain before what was started earlier stops. It
// may be called again if it fails.
func (ob *Outbox) Start(ctx context.Context) error {
	if ob.started.Swap(true) {
		return errors.New("outbox: started twice")
	}
	err := ob.db.Write(ctx, "outbox.start", ob.load)
	if err != nil {
		ob.started.Store(false)
		return fmt.Errorf("load outbox cursors: %w", err)
	}
	ob.db.Ride(onceEvery, ob.forget)
	if ob.teller != nil {
		ob.group.Worker("outbox tell "+ob.cfg.Service.String(), relayStop, ob.teller.run)
	}
	if len(ob.all) == 0 {
		return nil
	}
	ob.group.Worker("outbox watch "+ob.cfg.Service.String(), relayStop, ob.watch)
	for _, r := range ob.all {
		ob.group.Worker("relay "+ob.cfg.Service.String()+" "+r.sink.Name, relayStop, r.run)
	}
	if len(ob.relays) > 0 {
		ob.obs.Metrics.OutboxUnpublished.Pull(ob.cfg.Service, ob.unpublished)
		ob.db.Ride(rideEvery, ob.save)
		if ob.shared {
			ob.group.OnStop("outbox lease "+ob.cfg.Service.String(), saveTime, ob.giveUpLease)
			ob.group.Worker("outbox lease "+ob.cfg.Service.String(), relayStop, ob.keepLease)
		}
	}
	ob.group.OnStop("outbox drain "+ob.cfg.Service.String(), drainStop, ob.Drain)
	return nil
}

// load finds where the database stands, and the cursors of the sinks; those of
// new sinks are made.
func (ob *Outbox) load(ctx context.Context, tx *sqldb.Tx) error {
	for _, r := range ob.relays {
		if _, err := tx.Exec(ctx, sqlAddCursor, r.sink.Name); err != nil {
			return err
		}
	}
	if err := ob.loadCursors(ctx, tx); err != nil {
		return err
	}
	var last int64
	if err := tx.QueryRow(ctx, sqlTaken).Scan(&last); err != nil {
		return err
	}
	ob.tail.learn(last)
	return nil
}

// loadCursors reads how far the sinks are. What this process knows of may be
// further than what was saved, and never wrong.
func (ob *Outbox) loadCursors(ctx context.Context, tx *sqldb.Tx) error {
	for _, r := range ob.relays {
		var pos int64
		if err := tx.QueryRow(ctx, sqlCursor, r.sink.Name).Scan(&pos); err != nil {
			return err
		}
		r.cursor.Store(max(pos, r.cursor.Load()))
		r.saved.Store(pos)
	}
	return nil
}

// save rides in a commit: it saves the cursors that moved, and deletes rows that
// every sink has taken.
func (ob *Outbox) save(ctx context.Context, tx *sqldb.Tx) error {
	if !ob.leads() {
		return nil
	}
	low := ob.floor() // first, so that it is at most what is saved below
	for _, r := range ob.relays {
		pos := r.cursor.Load()
		if pos == r.saved.Load() {
			continue
		}
		if _, err := tx.Exec(ctx, sqlMoveCursor, pos, r.sink.Name); err != nil {
			return fmt.Errorf("save the cursor of %s: %w", r.sink.Name, err)
		}
		tx.AfterCommit(func() { r.saved.Store(pos) })
	}
	if low <= ob.swept.Load() {
		return nil
	}
	before := time.Now()
	if ob.shared {
		before = before.Add(-keepShared)
	}
	n, err := tx.Exec(ctx, sqlSweep, low, before.UnixMilli(), sweepRows)
	if err != nil {
		return fmt.Errorf("delete from the outbox: %w", err)
	}
	if n < sweepRows {
		tx.AfterCommit(func() { ob.swept.Store(low) })
	}
	return nil
}

// watch finds what was committed without being handed over: by another process,
// or by a commit whose outcome was unknown.
func (ob *Outbox) watch(ctx context.Context) {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	before := ob.tail.end()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if now := ob.tail.end(); now != before {
			before = now
			continue // commits arrive, so a gap shows by itself
		}
		if err := ob.look(ctx); err != nil {
			ob.log().LogAttrs(ctx, slog.LevelWarn, "outbox not readable", obs.Cause(err))
		}
	}
}

func (ob *Outbox) look(ctx context.Context) error {
	last, err := ob.committed(ctx)
	if err == nil && ob.tail.learn(last) {
		ob.wake()
	}
	return err
}

// passed follows a moved cursor.
func (ob *Outbox) passed() {
	ob.tail.release(ob.reached())
	ob.mu.Lock()
	defer ob.mu.Unlock()
	if ob.moved != nil {
		close(ob.moved)
		ob.moved = nil
	}
}

// Drain waits until every sink, and whoever follows, has taken everything that
// was committed when it began, or by this process since, or ctx ends, and saves
// the cursors in either case. What others go on committing is theirs to relay.
// Where another process relays, it waits for that one to have taken what this one
// committed. A database that does not answer is asked again until ctx ends, and for
// the cursors some two seconds more.
func (ob *Outbox) Drain(ctx context.Context) error {
	if len(ob.all) == 0 || !ob.started.Load() {
		return nil
	}
	ctx = obs.WithCorrelation(ctx, cause(ctx))
	waited := errors.Join(patiently(ctx, ob.look), patiently(ctx, ob.await))
	save, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	return errors.Join(waited, patiently(save, func(ctx context.Context) error { return ob.db.Write(ctx, "outbox.save", ob.save) }))
}

// patiently tries fn again while the database does not answer, until ctx ends: a
// moment in which it does not must not make an end unclean.
func patiently(ctx context.Context, fn func(context.Context) error) error {
	var wait bus.Backoff
	for {
		err := fn(ctx)
		if err == nil || fault.CodeOf(err) != fault.CodeUnavailable || !wait.Wait(ctx, nil) {
			return err
		}
	}
}

func (ob *Outbox) await(ctx context.Context) error {
	for begun := ob.tail.end(); ; {
		ob.mu.Lock()
		if ob.moved == nil {
			ob.moved = make(chan struct{})
		}
		moved := ob.moved
		ob.mu.Unlock()
		left, err := ob.left(ctx, begun)
		if err != nil || left <= 0 {
			return err
		}
		select {
		case <-moved:
		case <-ob.soon():
		case <-ctx.Done():
			return fault.Wrap(fault.CodeTimeout, context.Cause(ctx), fmt.Sprintf("%d events left in the outbox", left))
		}
	}
}

// left is how many events up to a position, or committed by this process, are not
// where they belong yet.
func (ob *Outbox) left(ctx context.Context, upTo int64) (int64, error) {
	_, own := ob.tail.own()
	left := max(upTo, own) - ob.reached()
	if ob.leads() || len(ob.relays) == 0 {
		return left, nil
	}
	err := ob.db.Read(ctx, "outbox.cursors", ob.loadCursors)
	return max(left, own-ob.floor()), err
}

// soon is when to ask the database again how far another process is; nil if
// there is none.
func (ob *Outbox) soon() <-chan time.Time {
	if !ob.shared {
		return nil
	}
	return time.After(askEvery)
}
