package messaging

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/ws"
)

// openings are the sockets that have not said hello yet.
type openings struct {
	mu   sync.Mutex
	list map[*socket]struct{}
}

func (o *openings) add(so *socket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.list == nil {
		o.list = map[*socket]struct{}{}
	}
	o.list[so] = struct{}{}
}

func (o *openings) remove(so *socket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.list, so)
}

// due gives the sockets that had their time, and forgets them and those that
// have said hello.
func (o *openings) due(now time.Time) (late []*socket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for so := range o.list {
		so.mu.Lock()
		p := so.phase
		so.mu.Unlock()
		if p != opening {
			delete(o.list, so)
		} else if now.Sub(so.opened) >= helloWithin {
			delete(o.list, so)
			late = append(late, so)
		}
	}
	return late
}

func (s *Service) forget(so *socket) {
	s.openings.remove(so)
	s.hub.leave(so)
}

const (
	drainQuiet  = 200 * time.Millisecond // without a new send: the clients have stopped
	drainAtMost = 5 * time.Second        // for clients to stop sending
)

// Refuse makes the service take no more sockets.
func (s *Service) Refuse() { s.draining.Store(true) }

// Drain tells every socket to come back later, and returns when the clients
// have stopped sending and every accepted send is answered, or ctx ends. Each
// client is given another moment, so that they do not all return at once.
func (s *Service) Drain(ctx context.Context) error {
	s.Refuse()
	sockets := s.hub.all()
	spread := reconnectSpread(len(sockets))
	for _, so := range sockets {
		so.conn.Queue(drainFrame(100*time.Millisecond + rand.N(spread)))
	}
	s.sockets.Kick()
	if len(sockets) == 0 {
		return s.settled(ctx)
	}
	end := time.Now().Add(drainAtMost)
	seen, since := s.ledger.accepted.Load(), time.Now()
	for time.Since(since) < drainQuiet && time.Now().Before(end) {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		if n := s.ledger.accepted.Load(); n != seen {
			seen, since = n, time.Now()
		}
	}
	return s.settled(ctx)
}

// reconnectSpread grows with the number of clients: 1,000 of them per second.
func reconnectSpread(clients int) time.Duration {
	return min(max(time.Duration(clients)*time.Millisecond, 500*time.Millisecond), 10*time.Second)
}

func drainFrame(in time.Duration) *ws.Frame {
	b := strconv.AppendInt([]byte(`{"op":"drain","reconnect_in_ms":`), in.Milliseconds(), 10)
	return ws.NewFrame(append(b, '}'), ws.Control, time.Time{})
}

// settled waits until no send is without an outcome.
func (s *Service) settled(ctx context.Context) error {
	for s.ledger.pending() > 0 {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return fault.From(context.Cause(ctx))
	case <-t.C:
		return nil
	}
}

// CloseSockets ends all sockets with 1012, spread over a moment, after what is
// queued on them was written.
func (s *Service) CloseSockets(ctx context.Context) {
	spread := min(time.Duration(s.sockets.Count())*200*time.Microsecond, 3*time.Second)
	s.sockets.CloseAll(ctx, obs.CloseShutdown, spread)
}
