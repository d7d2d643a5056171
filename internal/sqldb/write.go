package sqldb

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// The states of a single write.
const (
	waiting int32 = iota
	running
	abandoned
)

// write is a closure that waits for a group commit.
type write struct {
	db    *DB
	most  time.Duration   // that it may take, once it runs
	ctx   context.Context // of the request, and how long it waits for its turn
	op    string
	fn    func(context.Context, *Tx) error
	state atomic.Int32
	left  bool  // abandoned before its group began
	err   error // its refusal
	done  chan error
}

// Write runs fn in a group commit and returns when that is on the disk. fn may
// run again after a failure of the engine, beside others' in one transaction,
// so it must touch nothing but tx and what it sets anew each time. An error of
// fn takes back what it wrote, and that alone.
//
// A context that ends before fn begins answers timeout or canceled, and fn does
// not run. Once it runs it has 5 s of its own. fn, and anything that the
// writer's goroutine calls, must not call Write or Do: nobody would answer.
func (db *DB) Write(ctx context.Context, op string, fn func(context.Context, *Tx) error) error {
	return db.write(ctx, op, patience, fn)
}

func (db *DB) write(ctx context.Context, op string, most time.Duration, fn func(context.Context, *Tx) error) error {
	begin := time.Now()
	defer func() { db.took(ctx, obs.AccessWrite, op, time.Since(begin)) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := &write{db: db, most: most, ctx: ctx, op: op, fn: fn, done: make(chan error, 1)}
	if err := db.writer.queue.add(w, nil); err != nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	if w.state.CompareAndSwap(waiting, abandoned) {
		return fault.From(ctx.Err())
	}
	return <-w.done // it runs: only its end tells what became of it
}

func (w *write) take() bool { return true }

func (w *write) begin() {
	if err := w.ctx.Err(); err != nil && w.state.CompareAndSwap(waiting, abandoned) {
		w.done <- fault.From(err)
	}
	w.left = !w.state.CompareAndSwap(waiting, running)
}

func (w *write) putBack() bool {
	return !w.left && w.state.CompareAndSwap(running, waiting)
}

func (w *write) size() int {
	if w.left {
		return 0
	}
	return 1
}

func (w *write) divisible() bool { return true }

func (w *write) run(tx *Tx, _, _ int) error {
	w.err = nil
	return tx.limited(context.WithoutCancel(w.ctx), w.most, func(ctx context.Context) error { return w.fn(ctx, tx) })
}

func (w *write) refuse(err error) { w.err = err }

func (w *write) settle(from, to int, err error) {
	if from == to {
		return
	}
	if err == nil {
		err = w.err
	}
	w.done <- err
}

func (w *write) clear() {}
