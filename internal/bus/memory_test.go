package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/bus/bustest"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

func TestMemoryFanout(t *testing.T) {
	bustest.Fanout(t, func(t *testing.T) bustest.FanoutNodes {
		f := newNode(t).bus.Fanout()
		return bustest.FanoutNodes{Publisher: f, Nodes: []bus.Fanout{f}}
	})
}

func TestMemoryEvents(t *testing.T) {
	bustest.Events(t, func(t *testing.T) bustest.EventsNode { return newNode(t).events() })
}

func event(n int) bus.Envelope {
	return bus.Envelope{ID: fmt.Sprint("e", n), Type: "user.registered", Correlation: "test-123", Pos: int64(n)}
}

func TestFanoutIsSynchronous(t *testing.T) {
	f, got := newNode(t).bus.Fanout(), 0
	f.Subscribe("count", func(_ context.Context, batch []bus.Envelope) { got += len(batch) })
	if err := f.Publish(context.Background(), []bus.Envelope{event(1), event(2)}); err != nil || got != 2 {
		t.Errorf("Publish returned %v with %d of 2 envelopes delivered", err, got)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Publish(ended, []bus.Envelope{event(3)}); !fault.Is(err, fault.CodeCanceled) || got != 2 {
		t.Errorf("with a context that has ended: %v, and %d delivered", err, got)
	}
	if err := f.Publish(context.Background(), nil); err != nil || got != 2 {
		t.Errorf("an empty batch: %v", err)
	}
}

func TestPublishReturnsWhenAllIsHandled(t *testing.T) {
	ev := newNode(t).bus.Events()
	var handled atomic.Int64
	for _, q := range []obs.Queue{obs.QueueUserEvents, obs.QueueAuthEvents} {
		ev.Consume(q, nil, func(context.Context, bus.Envelope) error { handled.Add(1); return nil })
	}
	for i := range 20 {
		if err := ev.Publish(context.Background(), []bus.Envelope{event(i), event(i)}); err != nil {
			t.Fatal(err)
		}
		if got := handled.Load(); got != int64(4*(i+1)) {
			t.Fatalf("Publish %d returned with %d events handled", i+1, got)
		}
	}
}

// A publisher that gave up publishes again, so the rest of its batch must not be
// handled behind its back, where it could overtake.
func TestWhatThePublisherGaveUpIsNotHandledLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := newNode(t).bus.Events()
		var order []string
		broken := true
		ev.Consume(obs.QueueUserEvents, nil, func(_ context.Context, e bus.Envelope) error {
			if broken {
				return fault.New(fault.CodeUnavailable, "")
			}
			order = append(order, e.ID)
			return nil
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := ev.Publish(ctx, []bus.Envelope{event(1), event(2)})
		if !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("Publish gave up with %v, want unavailable", err)
		}
		synctest.Wait()
		broken = false
		if err := ev.Publish(context.Background(), []bus.Envelope{event(1), event(2), event(3)}); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(order); got != "[e1 e2 e3]" {
			t.Errorf("handled %s", got)
		}
	})
}

func TestRetriesWaitLongerAndLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := newNode(t).bus.Events()
		var at []time.Time
		ev.Consume(obs.QueueUserEvents, nil, func(context.Context, bus.Envelope) error {
			if at = append(at, time.Now()); len(at) < 12 {
				return errors.New("not yet")
			}
			return nil
		})
		if err := ev.Publish(context.Background(), []bus.Envelope{event(1)}); err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(at); i++ {
			most := min(50*time.Millisecond<<(i-1), 5*time.Second)
			if d := at[i].Sub(at[i-1]); d < most/2 || d > most {
				t.Errorf("wait %d was %v, want %v to %v", i, d, most/2, most)
			}
		}
	})
}

func TestHandlerHasThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev, tries := newNode(t).bus.Events(), 0
		begin := time.Now()
		ev.Consume(obs.QueueUserEvents, nil, func(ctx context.Context, _ bus.Envelope) error {
			if tries++; tries == 1 {
				<-ctx.Done()
				if took := time.Since(begin); took != 30*time.Second {
					t.Errorf("the first try ended after %v", took)
				}
				return ctx.Err()
			}
			return nil
		})
		if err := ev.Publish(context.Background(), []bus.Envelope{event(1)}); err != nil || tries != 2 {
			t.Errorf("%v after %d tries", err, tries)
		}
	})
}

func TestStopFinishesTheEventInWorkAndAnswersTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		ev, handled := n.bus.Events(), 0
		ev.Consume(obs.QueueUserEvents, nil, func(ctx context.Context, _ bus.Envelope) error {
			<-time.After(time.Second)
			handled++
			return ctx.Err()
		})
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- ev.Publish(context.Background(), []bus.Envelope{event(1), event(2), event(3)}) }()
		}
		synctest.Wait()
		n.stop()
		for range 2 {
			if err := <-errs; !fault.Is(err, fault.CodeUnavailable) {
				t.Errorf("Publish gave %v when the consumer stopped", err)
			}
		}
		if handled != 1 {
			t.Errorf("%d events handled, want the one in work", handled)
		}
		if err := ev.Publish(context.Background(), []bus.Envelope{event(4)}); !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("after the stop: %v", err)
		}
	})
}

func TestOneConsumerForAQueue(t *testing.T) {
	ev := newNode(t).bus.Events()
	h := func(context.Context, bus.Envelope) error { return nil }
	ev.Consume(obs.QueueUserEvents, nil, h)
	defer func() {
		if recover() == nil {
			t.Error("a second consumer of the queue was accepted")
		}
	}()
	ev.Consume(obs.QueueUserEvents, nil, h)
}
