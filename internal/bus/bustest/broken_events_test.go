package bustest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

type handler = func(context.Context, bus.Envelope) error

// brokenEvents spoils events that are good otherwise.
type brokenEvents struct {
	bus.Events
	publish func(context.Context, bus.Events, []bus.Envelope) error
	handle  func(handler) handler
	consume func(bus.Events, obs.Queue, []string, handler)
}

func (b brokenEvents) Publish(ctx context.Context, batch []bus.Envelope) error {
	if b.publish == nil {
		return b.Events.Publish(ctx, batch)
	}
	return b.publish(ctx, b.Events, slices.Clone(batch))
}

func (b brokenEvents) Consume(q obs.Queue, types []string, h func(context.Context, bus.Envelope) error) {
	if b.handle != nil {
		h = b.handle(h)
	}
	if b.consume != nil {
		b.consume(b.Events, q, types, h)
		return
	}
	b.Events.Consume(q, types, h)
}

func TestBrokenEventsFail(t *testing.T) {
	shown := map[string]bool{}
	spoil := func(change func(*bus.Envelope)) brokenEvents {
		return brokenEvents{publish: func(ctx context.Context, ev bus.Events, b []bus.Envelope) error {
			for i := range b {
				change(&b[i])
			}
			return ev.Publish(ctx, b)
		}}
	}
	for _, c := range []struct {
		check, defect string
		broken        brokenEvents
	}{
		{"a consumer gets its types in order", "a batch is turned round", brokenEvents{publish: func(ctx context.Context, ev bus.Events, b []bus.Envelope) error {
			slices.Reverse(b)
			return ev.Publish(ctx, b)
		}}},
		{"a consumer gets its types in order", "types are ignored", brokenEvents{consume: func(ev bus.Events, q obs.Queue, _ []string, h handler) {
			ev.Consume(q, nil, h)
		}}},
		{"each group gets everything", "groups share", brokenEvents{consume: func(ev bus.Events, q obs.Queue, types []string, h handler) {
			ev.Consume(q, types, func(ctx context.Context, e bus.Envelope) error {
				if e.Pos%3 == int64(q)%3 {
					return nil
				}
				return h(ctx, e)
			})
		}}},
		{"an event arrives as it was sent", "the payload is cut", spoil(func(e *bus.Envelope) { e.Payload = e.Payload[:1] })},
		{"an event arrives as it was sent", "the origin is lost", spoil(func(e *bus.Envelope) { e.Origin = "" })},
		{"an event arrives as it was sent", "the trace is lost", spoil(func(e *bus.Envelope) { e.Trace = "" })},
		{"an event arrives as it was sent", "the context has another cause", brokenEvents{handle: func(h handler) handler {
			return func(ctx context.Context, e bus.Envelope) error { return h(obs.WithCorrelation(ctx, "x"), e) }
		}}},
		{"the publisher's context stays behind", "a value goes along", brokenEvents{handle: func(h handler) handler {
			return func(ctx context.Context, e bus.Envelope) error {
				return h(context.WithValue(ctx, mark{}, "seen"), e)
			}
		}}},
		{"the publisher's context stays behind", "the deadline goes along", brokenEvents{handle: func(h handler) handler {
			return func(ctx context.Context, e bus.Envelope) error {
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				return h(ctx, e)
			}
		}}},
		{"a retryable error is tried again and holds up the queue", "errors are swallowed", brokenEvents{handle: swallow}},
		{"a panic is tried again", "panics are swallowed", brokenEvents{handle: swallow}},
		{"a definite error is set aside", "all is tried for ever", brokenEvents{handle: func(h handler) handler {
			return func(ctx context.Context, e bus.Envelope) error {
				if err := h(ctx, e); err != nil {
					return errors.New("internal now")
				}
				return nil
			}
		}}},
		{"a definite error is set aside", "nothing is counted", brokenEvents{handle: swallow}},
		{"a malformed envelope refuses the batch", "it is mended", spoil(func(e *bus.Envelope) { e.Type, e.Correlation = "sample", "x" })},
		{"a restart brings back what was not handled", "everything is accepted at once", brokenEvents{publish: func(_ context.Context, ev bus.Events, b []bus.Envelope) error {
			go func() { _ = ev.Publish(context.Background(), b) }()
			return nil
		}}},
		{"a group that is held up does not hold up another", "groups take turns", brokenEvents{handle: turns()}},
	} {
		shown[c.check] = true
		t.Run(c.check+"/"+c.defect, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				c.broken.Events = n.bus.Events()
				under := n.events()
				under.Events = c.broken
				if err := find(t, c.check, EventsChecks(), func(e EventsCheck) string { return e.Name }).Run(under); err == nil {
					t.Error("the check passed")
				}
			})
		})
	}
	for _, c := range EventsChecks() {
		if !shown[c.Name] {
			t.Errorf("no defect shows that %q can fail", c.Name)
		}
	}
}

func swallow(h handler) handler {
	return func(ctx context.Context, e bus.Envelope) error {
		defer func() { _ = recover() }()
		_ = h(ctx, e)
		return nil
	}
}

// turns lets the second group handle an event only after the first one did.
func turns() func(handler) handler {
	type turn struct{ done map[string]bool }
	var mu sync.Mutex
	first := turn{map[string]bool{}}
	n := 0
	return func(h handler) handler {
		leads := n == 0
		n++
		return func(ctx context.Context, e bus.Envelope) error {
			if leads {
				err := h(ctx, e)
				mu.Lock()
				defer mu.Unlock()
				first.done[e.ID] = true
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if !first.done[e.ID] {
				return fault.New(fault.CodeUnavailable, "not my turn")
			}
			return h(ctx, e)
		}
	}
}
