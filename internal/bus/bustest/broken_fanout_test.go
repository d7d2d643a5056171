package bustest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
)

// brokenFanout spoils a fan-out that is good otherwise.
type brokenFanout struct {
	bus.Fanout
	publish   func(context.Context, bus.Fanout, []bus.Envelope) error
	subscribe func(bus.Fanout, string, func(context.Context, []bus.Envelope)) func()
}

func (b brokenFanout) Publish(ctx context.Context, batch []bus.Envelope) error {
	if b.publish == nil {
		return b.Fanout.Publish(ctx, batch)
	}
	return b.publish(ctx, b.Fanout, slices.Clone(batch))
}

func (b brokenFanout) Subscribe(name string, h func(context.Context, []bus.Envelope)) func() {
	if b.subscribe == nil {
		return b.Fanout.Subscribe(name, h)
	}
	return b.subscribe(b.Fanout, name, h)
}

// direct is a fan-out of one subscriber list without any care.
type direct struct {
	mu   sync.Mutex
	subs []func(context.Context, []bus.Envelope)
}

func (d *direct) Publish(ctx context.Context, batch []bus.Envelope) error {
	d.mu.Lock()
	subs := d.subs
	d.mu.Unlock()
	for _, h := range subs {
		h(ctx, batch)
	}
	return nil
}

func (d *direct) Subscribe(_ string, h func(context.Context, []bus.Envelope)) func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subs = append(d.subs, h)
	return func() {}
}

func TestBrokenFanoutsFail(t *testing.T) {
	var count int
	shown := map[string]bool{}
	publishing := func(f func(context.Context, bus.Fanout, []bus.Envelope) error) func(bus.Fanout) bus.Fanout {
		return func(good bus.Fanout) bus.Fanout { return brokenFanout{Fanout: good, publish: f} }
	}
	careless := func(bus.Fanout) bus.Fanout { return &direct{} }
	for _, c := range []struct {
		check, defect string
		make          func(bus.Fanout) bus.Fanout
	}{
		{"every node sees everything in order", "the last of a batch is lost", publishing(func(ctx context.Context, f bus.Fanout, b []bus.Envelope) error {
			return f.Publish(ctx, b[:len(b)-1])
		})},
		{"every node sees everything in order", "a batch is turned round", publishing(func(ctx context.Context, f bus.Fanout, b []bus.Envelope) error {
			slices.Reverse(b)
			return f.Publish(ctx, b)
		})},
		{"every node sees everything in order", "only the first subscriber is called", func(good bus.Fanout) bus.Fanout {
			return brokenFanout{Fanout: good, subscribe: func(f bus.Fanout, name string, h func(context.Context, []bus.Envelope)) func() {
				if count++; count > 1 {
					return func() {}
				}
				return f.Subscribe(name, h)
			}}
		}},
		{"an envelope arrives as it was sent", "the correlation is replaced", publishing(func(ctx context.Context, f bus.Fanout, b []bus.Envelope) error {
			for i := range b {
				b[i].Correlation = obs.NewCorrelation()
			}
			return f.Publish(ctx, b)
		})},
		{"an envelope arrives as it was sent", "hints are dropped", publishing(func(ctx context.Context, f bus.Fanout, b []bus.Envelope) error {
			return f.Publish(ctx, slices.DeleteFunc(b, func(e bus.Envelope) bool { return e.Pos == 0 }))
		})},
		{"the publisher's context stays behind", "it is handed on", careless},
		{"a panic harms nobody else", "panics are not caught", careless},
		{"a subscriber that left gets nothing more", "nobody can leave", careless},
		{"a malformed envelope refuses the batch", "nothing is checked", careless},
		{"publishers do not disturb each other", "what is busy loses", publishing(func(ctx context.Context, f bus.Fanout, b []bus.Envelope) error {
			if b[0].Pos%10 == 3 {
				return nil
			}
			return f.Publish(ctx, b)
		})},
	} {
		shown[c.check] = true
		t.Run(c.check+"/"+c.defect, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				count = 0
				f := c.make(newNode(t).bus.Fanout())
				n := FanoutNodes{Publisher: f, Nodes: []bus.Fanout{f}}
				if err := find(t, c.check, FanoutChecks(), func(f FanoutCheck) string { return f.Name }).Run(n); err == nil {
					t.Error("the check passed")
				}
			})
		})
	}
	for _, c := range FanoutChecks() {
		if !shown[c.Name] {
			t.Errorf("no defect shows that %q can fail", c.Name)
		}
	}
}
