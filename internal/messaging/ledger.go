package messaging

import (
	"log/slog"
	"sync/atomic"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// Ledger accounts for every send over the life of the process:
// Accepted = Committed + Rejected + Unknown once nothing is under way.
type Ledger struct {
	Accepted      int64 // sends that were read and understood
	Committed     int64 // sends whose message is committed and fsynced, repeats included
	Repeated      int64 // of these, sends that were answered from the log
	Rejected      int64 // sends with a definite refusal
	Unknown       int64 // sends whose outcome is unknown to the client
	Acknowledged  int64 // `sent` answers queued to a socket or returned over REST
	SocketsClosed int64
}

type ledger struct {
	metrics                                          *obs.Metrics
	accepted, committed, repeated, rejected, unknown atomic.Int64
	acknowledged, closed                             atomic.Int64
}

func (l *ledger) accept() {
	l.accepted.Add(1)
	l.metrics.MessagesAccepted.Inc()
}

func (l *ledger) settle(o outcome, err error) {
	switch {
	case err == nil && o.repeat:
		l.repeated.Add(1)
		l.committed.Add(1)
		l.metrics.MessagesRepeated.Inc()
	case err == nil:
		l.committed.Add(1)
		l.metrics.MessagesCommitted.Inc()
	case indeterminate(fault.CodeOf(err)):
		l.unknown.Add(1)
		l.metrics.MessagesUnknown.Inc()
	default:
		l.rejected.Add(1)
		l.metrics.MessagesRejected.Inc(fault.CodeOf(err))
	}
}

// indeterminate says whether a code leaves open if the message is stored.
func indeterminate(c fault.Code) bool {
	switch c {
	case fault.CodeUnavailable, fault.CodeTimeout, fault.CodeInternal, fault.CodeCanceled:
		return true
	default:
		return false
	}
}

// pending is the number of sends that were accepted and have no outcome yet.
func (l *ledger) pending() int64 {
	return l.accepted.Load() - l.committed.Load() - l.rejected.Load() - l.unknown.Load()
}

func (l *ledger) sum() Ledger {
	return Ledger{
		Accepted: l.accepted.Load(), Committed: l.committed.Load(), Repeated: l.repeated.Load(), Rejected: l.rejected.Load(),
		Unknown: l.unknown.Load(), Acknowledged: l.acknowledged.Load(), SocketsClosed: l.closed.Load(),
	}
}

// Attrs are the ledger's fields as they are logged at the end.
func (l Ledger) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.Int64("accepted", l.Accepted), slog.Int64("committed", l.Committed), slog.Int64("repeated", l.Repeated),
		slog.Int64("rejected", l.Rejected), slog.Int64("unknown", l.Unknown), slog.Int64("acknowledged", l.Acknowledged),
		slog.Int64("sockets_closed", l.SocketsClosed),
	}
}
