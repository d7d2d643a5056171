package sqldb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// readers is the pool of connections that read. A slot without a connection
// gets one when it is next used.
type readers struct {
	engine engine
	slots  chan session
	closed chan struct{}
	once   sync.Once
}

func newReaders(db *DB, n int) (*readers, error) {
	r := &readers{engine: db.engine, slots: make(chan session, n), closed: make(chan struct{})}
	for range n {
		c, err := r.connect(time.Now().Add(patience))
		if err != nil {
			return nil, errors.Join(err, r.drop())
		}
		r.slots <- c
	}
	return r, nil
}

func (r *readers) connect(until time.Time) (session, error) { return r.engine.connect(until, false) }

func (r *readers) size() int   { return cap(r.slots) }
func (r *readers) active() int { return cap(r.slots) - len(r.slots) }

// take waits for a slot until end.
func (r *readers) take(ctx context.Context, end time.Time) (session, error) {
	select {
	case <-r.closed:
		return nil, stopped()
	default:
	}
	select {
	case c := <-r.slots:
		return c, nil
	default:
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	select {
	case c := <-r.slots:
		return c, nil
	case <-r.closed:
		return nil, stopped()
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, fault.Wrap(fault.CodeCanceled, ctx.Err(), "")
	}
	return nil, fault.Wrap(fault.CodeOverloaded, ctx.Err(), "too many reads at once")
}

// close waits for the reads that are under way and closes their connections.
func (r *readers) close(ctx context.Context) error {
	r.once.Do(func() { close(r.closed) })
	var errs []error
	for range cap(r.slots) {
		select {
		case c := <-r.slots:
			if c != nil {
				errs = append(errs, c.close())
			}
		case <-ctx.Done():
			return errors.Join(append(errs, fmt.Errorf("a read does not end: %w", context.Cause(ctx)))...)
		}
	}
	return errors.Join(errs...)
}

// drop closes the connections that are there.
func (r *readers) drop() error {
	var errs []error
	for len(r.slots) > 0 {
		if c := <-r.slots; c != nil {
			errs = append(errs, c.close())
		}
	}
	return errors.Join(errs...)
}

// Read runs fn on a snapshot of the database that cannot be written to. op
// names the operation in logs, such as "messaging.page". A context without a
// deadline gets 5 s, waiting included. When the context ends, the statement
// that runs is broken off. fn must not keep tx.
func (db *DB) Read(ctx context.Context, op string, fn func(context.Context, *Tx) error) error {
	begin := time.Now()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	end := db.until(ctx, begin)
	defer func() { db.took(ctx, obs.AccessRead, op, time.Since(begin)) }()
	c, err := db.readers.take(ctx, end)
	if err != nil {
		return err
	}
	if c == nil {
		if c, err = db.readers.connect(end); err != nil {
			db.readers.slots <- nil
			return db.failed(because(ctx, err))
		}
	}
	return db.readOn(ctx, c, end, fn)
}

// until is when a read that begins now ends at the latest.
func (db *DB) until(ctx context.Context, begin time.Time) time.Time {
	end, ok := ctx.Deadline()
	if limit := db.limits.read; limit > 0 && (!ok || end.Sub(begin) > limit) {
		return begin.Add(limit)
	}
	return end
}

// readOn gives the slot back in any case, without the connection if that is
// not fit for another read.
func (db *DB) readOn(ctx context.Context, c session, end time.Time, fn func(context.Context, *Tx) error) error {
	tx := &Tx{db: db, conn: c, ctx: context.Background()}
	fit := false
	defer func() {
		if !fit {
			_ = c.close()
			c = nil
		}
		db.readers.slots <- c
	}()
	if err := c.begin(end); err != nil {
		return tx.fail(because(ctx, err))
	}
	err := tx.watched(ctx, func() error { return fn(ctx, tx) }) // a panic of fn goes on to the caller, past the defer
	tx.closeRows()
	fit = c.rollback() == nil && (tx.cause == nil || !tx.cause.lost)
	if err == nil {
		err = tx.failed
	}
	return err
}

// failed counts a failure outside any transaction and gives its fault.
func (db *DB) failed(err error) error {
	f := classify(err)
	db.count(f)
	return f.fault()
}
