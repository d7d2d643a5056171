package bustest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func find[C any](t *testing.T, name string, all []C, nameOf func(C) string) C {
	t.Helper()
	for _, c := range all {
		if nameOf(c) == name {
			return c
		}
	}
	t.Fatalf("there is no check %q", name)
	panic("unreachable")
}

func TestGoodBusPasses(t *testing.T) {
	for _, c := range FanoutChecks() {
		synctest.Test(t, func(t *testing.T) {
			f := newNode(t).bus.Fanout()
			if err := c.Run(FanoutNodes{f, []bus.Fanout{f}}); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		})
	}
	for _, c := range EventsChecks() {
		synctest.Test(t, func(t *testing.T) {
			if err := c.Run(newNode(t).events()); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		})
	}
}

type node struct {
	t     *testing.T
	obs   *obs.Obs
	group *run.Group
	bus   *bus.Memory
}

func newNode(t *testing.T) *node {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if r := g.Stop(ctx); r.Err() != nil || r.GoroutinesLeft != 0 {
			t.Errorf("stop: %+v", r)
		}
	})
	return &node{t, o, g, bus.NewMemory(o, g)}
}

func (n *node) events() EventsNode {
	return EventsNode{n.obs, n.bus.Events(), func() (EventsNode, error) {
		if err := n.group.Stop(context.Background()).Err(); err != nil {
			return EventsNode{}, err
		}
		return newNode(n.t).events(), nil
	}}
}
