package sqldb

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// riders write what is in no hurry along with commits that happen anyway.
type riders struct {
	mu  sync.Mutex
	all []*rider
}

type rider struct {
	every time.Duration
	last  time.Time // only the writer looks at it
	fn    func(context.Context, *Tx) error
}

// Ride has fn take part in a group commit that happens anyway, at most once in
// every. When nothing is written it never runs, but for once when the database
// stops and with each Flush. An error takes back what fn wrote and is logged.
// fn runs on the writer's goroutine, with a context that carries nothing.
func (db *DB) Ride(every time.Duration, fn func(context.Context, *Tx) error) {
	r := &db.writer.riders
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, &rider{every: every, fn: fn})
}

// Flush runs all riders now, in a commit that is made for them. What goes wrong
// with one is logged, as ever.
func (db *DB) Flush(ctx context.Context) error {
	return db.Write(ctx, "sqldb.flush", func(context.Context, *Tx) error {
		for _, r := range db.writer.riders.list() {
			r.last = time.Time{}
		}
		return nil
	})
}

func (r *riders) list() []*rider {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.all)
}

// ride runs the riders whose time has come; an error if the transaction is lost.
func (w *writer) ride(tx *Tx, now time.Time) error {
	for _, r := range w.riders.list() {
		if now.Sub(r.last) < r.every {
			continue
		}
		r.last = now
		if err := tx.flush(); err != nil {
			return err
		}
		if err := w.rideOne(tx, r); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) rideOne(tx *Tx, r *rider) error {
	refused, err := w.savepoint(tx, func() error {
		return tx.limited(context.Background(), patience, func(ctx context.Context) error {
			if err := r.fn(ctx, tx); err != nil {
				return err
			}
			return tx.flush()
		})
	})
	if refused != nil || err != nil {
		w.db.log.LogAttrs(processContext, slog.LevelError, "what was to be written along failed", obs.Cause(cmp.Or(refused, err)))
	}
	return err
}

// rideOut runs all riders a last time.
func (w *writer) rideOut() {
	if len(w.riders.list()) == 0 {
		return
	}
	tx, err := w.begin()
	if err != nil {
		return
	}
	for _, r := range w.riders.list() {
		if w.rideOne(tx, r) != nil {
			w.undo(tx)
			return
		}
	}
	if over, _ := w.end(tx); !over { // counted and logged there
		w.undo(tx)
	}
}
