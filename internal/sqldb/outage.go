package sqldb

import (
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

const (
	tries = 3                     // of a transaction that failed for no fault of its own
	rest  = 50 * time.Millisecond // between two attempts to reach a server
)

// outage is what the writer remembers of a server that is away, so that nobody
// waits for it longer than for one attempt.
type outage struct {
	err   error     // of the last attempt, nil if the server answers
	until time.Time // no other one before
	fresh bool      // the group that just ended met it
}

// reach makes sure of a connection, or answers as the last attempt did.
func (w *writer) reach() error {
	if w.conn != nil {
		return nil
	}
	if w.outage.err != nil && time.Now().Before(w.outage.until) {
		w.outage.fresh = true
		return w.outage.err
	}
	err := w.connect()
	if err == nil {
		return nil
	}
	err = w.db.failed(err)
	w.met(err)
	w.outage.until = time.Now().Add(rest)
	return err
}

// met notes that the server did not answer.
func (w *writer) met(err error) {
	if w.db.limits.group == 0 {
		return
	}
	if w.outage.err == nil {
		w.db.log.LogAttrs(processContext, slog.LevelWarn, "the database does not answer; writes are refused until it does", obs.Cause(err))
	}
	w.outage.err, w.outage.fresh = err, true
}

// over notes that the server answers.
func (w *writer) over() {
	if w.outage.err != nil {
		w.db.log.LogAttrs(processContext, slog.LevelInfo, "the database answers again")
		w.outage = outage{}
	}
}

// away answers what waits already, if the group that just ended met an outage:
// its requests would otherwise wait for another attempt after that one.
func (w *writer) away(parts []part) []part {
	if !w.outage.fresh {
		return parts
	}
	w.outage.fresh = false
	for left := w.queue.size(); left > 0; left -= groupSize {
		parts, _ = w.queue.take(parts[:0], false)
		for _, p := range parts {
			p.begin()
		}
		w.settle(parts, w.outage.err)
		for _, p := range parts {
			p.clear()
		}
	}
	clear(parts)
	return parts[:0]
}
