package ws

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// waiter is one wish, of those that a socket holds, to know when it is over.
type waiter struct {
	of   *departure
	next *waiter
}

// departure waits for a number of sockets.
type departure struct {
	left atomic.Int64
	done chan struct{}
}

func (d *departure) gone() {
	if d.left.Add(-1) == 0 {
		close(d.done)
	}
}

func (w *waiter) tell() {
	for ; w != nil; w = w.next {
		w.of.gone()
	}
}

// join makes c tell d when it is over.
func (d *departure) join(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == gone {
		return
	}
	d.left.Add(1)
	c.waiters = &waiter{d, c.waiters}
}

// CloseAll closes all sockets, evenly over spread, and waits until they are
// gone or ctx ends. It says how many it closed.
func (s *Server) CloseAll(ctx context.Context, why obs.CloseReason, spread time.Duration) int {
	d := &departure{done: make(chan struct{})}
	d.left.Add(1) // ours, so that it does not end before all have joined
	var all []*Conn
	s.Each(func(c *Conn) { all = append(all, c) })
	for _, c := range all {
		d.join(c)
	}
	closed := 0
	for from := range pace(ctx, len(all), spread) {
		for _, c := range all[closed:from] {
			c.Close(why, "")
		}
		closed = from
	}
	d.gone()
	select {
	case <-d.done:
	case <-ctx.Done():
	}
	return closed
}

// paceStep is the time between two portions of a spread closing.
const paceStep = 20 * time.Millisecond

// pace yields how many of n are due, until it yields n or ctx ends.
func pace(ctx context.Context, n int, spread time.Duration) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		begin := time.Now()
		t := time.NewTicker(paceStep)
		defer t.Stop()
		for {
			due := n
			if past := time.Since(begin); past < spread {
				due = int(float64(n) * float64(past) / float64(spread))
			}
			if !yield(due) || due == n {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	}
}

// cutWait is what the stop step leaves for the sockets to go after they are cut.
const cutWait = time.Second

func (s *Server) stop(ctx context.Context) error {
	s.stopping.Store(true)
	s.entering.Lock()   // a socket that is let in just now must be seen below
	s.entering.Unlock() //nolint:staticcheck // there is nothing else to protect
	soft, cancel := context.WithTimeout(ctx, min(s.cfg.CloseWait, stopWait-cutWait))
	defer cancel()
	s.CloseAll(soft, obs.CloseShutdown, 0)
	if s.Count() == 0 {
		return nil
	}
	s.Each((*Conn).cut)
	s.CloseAll(ctx, obs.CloseShutdown, 0)
	if n := s.Count(); n > 0 {
		return fmt.Errorf("%d sockets are left: %w", n, context.Cause(ctx))
	}
	return nil
}
