package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
)

// writer is the one goroutine that writes, with the one connection that can.
type writer struct {
	db      *DB
	conn    session // nil after it broke, until it is needed again
	queue   queue
	answers answers
	riders  riders
	busy    atomic.Bool
	until   time.Time // when the group must have ended; zero if nothing limits it
	owed    bool      // closures waited, and none had its turn in the last group
	outage  outage
	ended   chan struct{}
}

func newWriter(db *DB, waiting int) (*writer, error) {
	w := &writer{db: db, answers: newAnswers(), ended: make(chan struct{})}
	w.queue.wake, w.queue.limit = make(chan struct{}, 1), waiting
	w.until = time.Now().Add(patience)
	if err := w.connect(); err != nil {
		return nil, errors.Join(err, db.engine.close(nil))
	}
	return w, nil
}

func (w *writer) connect() (err error) {
	if w.conn == nil {
		w.conn, err = w.db.engine.connect(w.until, true)
	}
	return err
}

// limit gives the group its time.
func (w *writer) limit() {
	w.until = time.Time{}
	if w.db.limits.group > 0 {
		w.until = time.Now().Add(w.db.limits.group)
	}
}

func (w *writer) late() bool { return !w.until.IsZero() && !time.Now().Before(w.until) }

// drop gives up the connection after a failure that it may not survive.
func (w *writer) drop() {
	if w.conn != nil {
		_ = w.conn.close()
		w.conn = nil
	}
}

func (w *writer) loop() {
	defer close(w.ended)
	defer w.answers.close()
	var parts []part
	for {
		var closed bool
		runtime.Gosched() // requests that others are about to make join this group
		parts, closed = w.queue.take(parts[:0], w.owed)
		if len(parts) == 0 && closed {
			return
		}
		if len(parts) == 0 {
			<-w.queue.wake
			continue
		}
		w.busy.Store(true)
		w.commit(parts)
		clear(parts)
		parts = w.away(parts[:0])
		w.busy.Store(false)
		if w.conn != nil {
			w.db.engine.wrote(w.conn)
		}
	}
}

func (w *writer) begin() (*Tx, error) {
	if err := w.db.Broken(); err != nil {
		return nil, err
	}
	if err := w.reach(); err != nil {
		return nil, err
	}
	tx := &Tx{db: w.db, conn: w.conn, ctx: context.Background()}
	if err := w.conn.begin(w.until); err != nil {
		err = tx.fail(err)
		w.lose(tx.cause)
		return nil, err
	}
	return tx, nil
}

// undo takes back the transaction. After some failures the engine has done so
// itself, and ROLLBACK finds none; then a new connection is the safe way on.
func (w *writer) undo(tx *Tx) {
	if err := w.conn.rollback(); err != nil {
		w.drop()
	}
	w.lose(tx.cause)
	if tx.cause != nil {
		for _, fn := range tx.redone[tx.cause.redo] {
			w.guard("redo", fn)
		}
	}
}

// end commits; over is false if that was not even tried, because of a statement
// that was sent along. If the commit fails the outcome is unknown, but for a full
// disk, where it was certainly not written.
func (w *writer) end(tx *Tx) (over bool, err error) {
	err = w.conn.commit()
	if err == nil {
		w.over()
		for _, fn := range tx.after {
			w.guard("hook after a commit", fn)
		}
		return true, nil
	}
	f := classify(err)
	if f.beforeCommit {
		return false, tx.fail(err)
	}
	if f.reason != obs.StoreFull {
		c := *f
		c.reason, c.text = obs.StoreCommit, ""
		tx.cause, f = &c, &c
	}
	w.db.count(f)
	w.db.log.LogAttrs(processContext, slog.LevelError, "a commit failed", obs.Cause(f))
	w.drop() // which rolls back; the log on the disk says what is committed
	w.lose(f)
	if mutant.CommitErrorIsSent {
		return true, nil
	}
	return true, f.fault()
}

// lose gives up the connection, or all writing, if the failure asks for it.
func (w *writer) lose(f *failure) {
	if f == nil {
		return
	}
	if f.sync {
		w.db.obs.Metrics.DurabilityStrict.Set(0)
		w.db.seal(f, "an fsync failed")
	}
	if f.lost {
		w.met(f.fault())
		w.drop()
	}
}

// stop lets nothing more in and waits until all that was is answered.
func (w *writer) stop(ctx context.Context) error {
	w.queue.close()
	select {
	case <-w.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a write does not end: %w", context.Cause(ctx))
	}
}

// close runs the riders once more. The loop has ended, or never began.
func (w *writer) close() error {
	w.limit()
	w.rideOut()
	conn := w.conn
	w.conn = nil
	return w.db.engine.close(conn)
}
