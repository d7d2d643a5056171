package bustest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
)

// FanoutNodes is a fan-out between nodes, empty and ready. In a single process
// all of it may be the same bus.
type FanoutNodes struct {
	Publisher bus.Fanout
	Nodes     []bus.Fanout // at least one
}

// FanoutCheck is one thing that a fan-out has to do.
type FanoutCheck struct {
	Name string
	Run  func(FanoutNodes) error
}

// Fanout runs all checks, each on nodes that start makes anew.
func Fanout(t *testing.T, start func(*testing.T) FanoutNodes) {
	for _, c := range FanoutChecks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(start(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// FanoutChecks lists what a fan-out has to do.
func FanoutChecks() []FanoutCheck {
	return []FanoutCheck{
		{"every node sees everything in order", fanoutOrder},
		{"an envelope arrives as it was sent", fanoutFields},
		{"the publisher's context stays behind", fanoutContext},
		{"a panic harms nobody else", fanoutPanic},
		{"a subscriber that left gets nothing more", fanoutCancel},
		{"a malformed envelope refuses the batch", fanoutMalformed},
		{"publishers do not disturb each other", fanoutParallel},
	}
}

func fanoutOrder(n FanoutNodes) error {
	var inboxes []*inbox
	for i, node := range n.Nodes {
		for j := range 2 {
			in := newInbox()
			defer node.Subscribe(fmt.Sprintf("subscriber %d.%d", i, j), in.takeBatch)()
			inboxes = append(inboxes, in)
		}
	}
	all := numbered(100)
	for _, part := range [][]bus.Envelope{all[:1], all[1:40], all[20:60], all[60:]} { // the overlap is a repeat
		if err := n.Publisher.Publish(context.Background(), part); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	for i, in := range inboxes {
		if err := in.want(ids(all)...); err != nil {
			return fmt.Errorf("subscriber %d: %w", i, err)
		}
	}
	return nil
}

func fanoutFields(n FanoutNodes) error {
	in := newInbox()
	defer n.Nodes[0].Subscribe("fields", in.takeBatch)()
	sent := []bus.Envelope{sample(7), {ID: "hint", Type: "typing", Correlation: "test-123", At: time.Now()}}
	if err := n.Publisher.Publish(context.Background(), sent); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := in.want(ids(sent)...); err != nil {
		return err
	}
	for _, e := range sent {
		if err := same(in.envelope(e.ID), e); err != nil {
			return err
		}
	}
	return nil
}

func fanoutContext(n FanoutNodes) error {
	in, seen := newInbox(), make(chan error, 16)
	defer n.Nodes[0].Subscribe("context", func(ctx context.Context, batch []bus.Envelope) {
		seen <- foreign(ctx)
		in.takeBatch(ctx, batch)
	})()
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), mark{}, "seen"), patience)
	defer cancel()
	if err := n.Publisher.Publish(ctx, numbered(1)); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := in.want("e1"); err != nil {
		return err
	}
	return <-seen
}

func fanoutPanic(n FanoutNodes) error {
	before, after := newInbox(), newInbox()
	defer n.Nodes[0].Subscribe("before", before.takeBatch)()
	defer n.Nodes[0].Subscribe("broken", func(context.Context, []bus.Envelope) { panic("broken on purpose") })()
	defer n.Nodes[0].Subscribe("after", after.takeBatch)()
	for _, e := range numbered(3) {
		if err := publishSafely(n.Publisher, e); err != nil {
			return err
		}
	}
	for _, in := range []*inbox{before, after} {
		if err := in.want("e1", "e2", "e3"); err != nil {
			return fmt.Errorf("beside a subscriber that panics: %w", err)
		}
	}
	return nil
}

// publishSafely turns a panic that reaches the publisher into an error.
func publishSafely(f bus.Fanout, e bus.Envelope) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a subscriber's panic reached the publisher: %v", v)
		}
	}()
	return f.Publish(context.Background(), []bus.Envelope{e})
}

func fanoutCancel(n FanoutNodes) error {
	stays, leaves := newInbox(), newInbox()
	defer n.Nodes[0].Subscribe("stays", stays.takeBatch)()
	leave := n.Nodes[0].Subscribe("leaves", leaves.takeBatch)
	for i, e := range numbered(2) {
		if i == 1 {
			leave()
		}
		if err := n.Publisher.Publish(context.Background(), []bus.Envelope{e}); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if err := stays.want(ids(numbered(i + 1))...); err != nil {
			return err
		}
		if i == 0 {
			if err := leaves.want("e1"); err != nil {
				return err
			}
		}
	}
	leave() // leaving twice is leaving once
	return leaves.want("e1")
}

func fanoutMalformed(n FanoutNodes) error {
	in := newInbox()
	defer n.Nodes[0].Subscribe("malformed", in.takeBatch)()
	return refuses(n.Publisher.Publish, in)
}

func fanoutParallel(n FanoutNodes) error {
	in := newInbox()
	defer n.Nodes[0].Subscribe("parallel", in.takeBatch)()
	const publishers, each = 4, 25
	errs := make(chan error, publishers)
	var done sync.WaitGroup
	for p := range publishers {
		done.Go(func() {
			for i := range each {
				e := sample(int64(p*each + i + 1))
				if err := n.Publisher.Publish(context.Background(), []bus.Envelope{e}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	done.Wait()
	select {
	case err := <-errs:
		return fmt.Errorf("publish: %w", err)
	default:
		return in.wantSet(ids(numbered(publishers * each)))
	}
}

// refuses publishes batches with a malformed envelope among good ones.
func refuses(publish func(context.Context, []bus.Envelope) error, in *inbox) error {
	untyped, uncaused := sample(1), sample(2)
	untyped.Type, uncaused.Correlation = "", "not a correlation"
	for _, bad := range []bus.Envelope{untyped, uncaused} {
		err := publish(context.Background(), []bus.Envelope{sample(3), bad})
		if err == nil || fault.CodeOf(err).Kind() != fault.Invalid {
			return fmt.Errorf("an envelope of type %q and correlation %q: got %w, want a fault of kind invalid", bad.Type, bad.Correlation, err)
		}
	}
	if err := publish(context.Background(), []bus.Envelope{sample(4)}); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return in.want("e4")
}
