package sqldb

import (
	"fmt"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// commit writes a group. Closures for which there is no time go back into the queue,
// and what comes meanwhile for a batch does not wait for all of them.
func (w *writer) commit(parts []part) {
	for _, p := range parts {
		p.begin()
	}
	w.limit()
	done := w.group(parts)
	for _, p := range parts[:done] {
		p.clear()
	}
	w.owed = done < len(parts) && !slices.ContainsFunc(parts[:done], part.divisible)
	w.queue.putBack(parts[done:])
}

// group writes parts in one transaction, or those of them for which there is time,
// and says how many it answered. If that cannot be, each request has a transaction
// of its own, so that nobody pays for another's failure.
func (w *writer) group(parts []part) (answered int) {
	n := 0
	for _, p := range parts {
		n += p.size()
	}
	if n == 0 {
		return len(parts)
	}
	for try := 1; ; try++ {
		tx, err := w.begin()
		if err != nil {
			w.settle(parts, err)
			return len(parts)
		}
		var ran int
		if ran, err = w.runAll(tx, parts, n > 1); err == nil {
			done := parts[:ran]
			if mutant.AckBeforeCommit {
				done = w.answerEarly(done)
			}
			var over bool
			if over, err = w.end(tx); over {
				w.settle(done, err)
				return ran
			}
		}
		w.undo(tx)
		if tx.retryable() && try < tries && !w.late() {
			continue
		}
		if n == 1 || tx.retryable() && tx.cause.redo == noRedo { // no single request is to blame
			w.settle(parts, tx.reported(err))
		} else {
			w.singles(parts)
		}
		return len(parts)
	}
}

// runAll runs parts and then the riders. Each closure may wait for the server, so no
// further one begins when half of the group's time is over. It says how many parts
// it ran.
func (w *writer) runAll(tx *Tx, parts []part, shared bool) (ran int, err error) {
	for i, p := range parts {
		if i > 0 {
			if err := tx.flush(); err != nil { // so that one's failure does not look like another's
				return ran, err
			}
			if p.divisible() && w.halfway() {
				break
			}
		}
		if p.size() > 0 { // else nobody waits for it any more
			if err := w.run(tx, p, 0, p.size(), shared); err != nil {
				return ran, err
			}
		}
		ran++
	}
	return ran, w.ride(tx, time.Now())
}

func (w *writer) halfway() bool {
	return !w.until.IsZero() && time.Until(w.until) < w.db.limits.group/2
}

// singles writes each request alone. Those after it do not wait for a server that
// one of them found away, nor longer than they would have waited for their turn.
func (w *writer) singles(parts []part) {
	var down error
	end := time.Now().Add(patience)
	for _, p := range parts {
		for i := range p.size() {
			switch {
			case down != nil:
			case time.Now().After(end):
				down = fault.New(fault.CodeOverloaded, "too many writes had to be made one by one")
			case w.outage.err == nil:
				w.limit()
			}
			down = w.single(p, i, down)
		}
	}
}

// single writes one request in its own transaction. When none can begin, down
// is why, and the requests after it do not wait for the same.
func (w *writer) single(p part, i int, down error) error {
	var err error
	for try := 1; down == nil; try++ {
		var tx *Tx
		if tx, down = w.begin(); down != nil {
			break
		}
		if err = w.run(tx, p, i, i+1, false); err == nil {
			var over bool
			if over, err = w.end(tx); over {
				break
			}
		}
		w.undo(tx)
		if !tx.retryable() || try == tries || w.late() {
			err = tx.reported(err)
			break
		}
	}
	if down != nil {
		err = down
	}
	w.guard("answer", func() { p.settle(i, i+1, err) })
	return down
}

// settle answers the whole group.
func (w *writer) settle(parts []part, err error) {
	for _, p := range parts {
		w.guard("answer", func() { p.settle(0, p.size(), err) })
	}
}

// run runs requests of a part. With others in the transaction, a part that can
// be taken back alone gets a savepoint; its refusal is then no error here.
func (w *writer) run(tx *Tx, p part, from, to int, shared bool) error {
	if !p.divisible() {
		return w.protect(tx, func() error { return p.run(tx, from, to) })
	}
	run := func() error {
		if err := p.run(tx, from, to); err != nil {
			return err
		}
		return tx.flush()
	}
	if !shared {
		return w.protect(tx, run)
	}
	refused, err := w.savepoint(tx, run)
	if refused != nil {
		p.refuse(refused)
	}
	return err
}

// savepoint runs fn so that it can be taken back alone. err is set only if the
// whole transaction has to be taken back; refused says that fn alone was.
func (w *writer) savepoint(tx *Tx, fn func() error) (refused, err error) {
	if err := tx.savepoint(setSavepoint); err != nil {
		return nil, err
	}
	hooks := len(tx.after)
	refused = w.protect(tx, fn)
	if refused == nil {
		return nil, tx.savepoint(releaseSavepoint)
	}
	if tx.cause != nil && (tx.cause.engine || tx.cause.redo != noRedo) {
		return nil, refused
	}
	tx.after, tx.failed, tx.cause = tx.after[:hooks], nil, nil
	if err := tx.savepoint(rollbackToSavepoint); err != nil {
		return nil, err
	}
	return refused, tx.savepoint(releaseSavepoint)
}

// protect runs fn, ends its rows and turns a panic into an error. A statement
// that failed is an error even if fn says nothing of it.
func (w *writer) protect(tx *Tx, fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = w.panicked("write", v)
		}
		tx.closeRows()
		if err == nil {
			err = tx.failed
		}
	}()
	return fn()
}

// guard runs something of others that must not end the writer.
func (w *writer) guard(where string, fn func()) {
	defer func() {
		if v := recover(); v != nil {
			_ = w.panicked(where, v)
		}
	}()
	fn()
}

func (w *writer) panicked(where string, v any) error {
	w.db.obs.Metrics.Panics.Inc(obs.PanicStore)
	run.LogPanic(processContext, w.db.log, "sqldb "+where, v)
	return fault.Wrap(fault.CodeInternal, fmt.Errorf("panic: %v", v), "")
}
