package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// EventsNode is a process with events, empty and ready.
type EventsNode struct {
	Obs    *obs.Obs // of the node
	Events bus.Events

	// Restart stops the node as the process does, waits until its consumers have
	// ended, and gives a node that takes its place, with what the first one had
	// stored.
	Restart func() (EventsNode, error)
}

// EventsCheck is one thing that events have to do.
type EventsCheck struct {
	Name string
	Run  func(EventsNode) error
}

// Events runs all checks, each on a node that start makes anew.
func Events(t *testing.T, start func(*testing.T) EventsNode) {
	for _, c := range EventsChecks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(start(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// EventsChecks lists what events have to do.
func EventsChecks() []EventsCheck {
	return []EventsCheck{
		{"a consumer gets its types in order", eventsOrder},
		{"each group gets everything", eventsGroups},
		{"an event arrives as it was sent", eventsFields},
		{"the publisher's context stays behind", eventsContext},
		{"a retryable error is tried again and holds up the queue", eventsRetry},
		{"a panic is tried again", eventsPanic},
		{"a definite error is set aside", eventsDefinite},
		{"a group that is held up does not hold up another", eventsHeldUp},
		{"a malformed envelope refuses the batch", eventsMalformed},
		{"a restart brings back what was not handled", eventsRestart},
	}
}

func eventsOrder(n EventsNode) error {
	in := newInbox()
	n.Events.Consume(obs.QueueUserEvents, []string{"sample", "other"}, in.take)
	all := numbered(60)
	all[10].Type = "unwanted"
	all[20].Type = "other"
	for _, part := range [][]bus.Envelope{all[:1], all[1:30], all[25:50], all[50:]} {
		if err := n.publish(part); err != nil {
			return err
		}
	}
	wanted := append(ids(all[:10]), ids(all[11:])...)
	if err := in.want(wanted...); err != nil {
		return err
	}
	return eventually(func() error {
		if got := metric(n.Obs, `queue_consumed_messages_total{queue="user_events"}`); got < float64(len(wanted)) {
			return fmt.Errorf("queue_consumed_messages_total is %v after %d events", got, len(wanted))
		}
		if lag := metric(n.Obs, `queue_processing_lag_messages{queue="user_events"}`); lag != 0 {
			return fmt.Errorf("queue_processing_lag_messages is %v and not 0 when all is handled", lag)
		}
		return nil
	})
}

func eventsGroups(n EventsNode) error {
	queues := []obs.Queue{obs.QueueUserEvents, obs.QueueAuthEvents}
	inboxes := map[obs.Queue]*inbox{}
	for _, q := range queues {
		inboxes[q] = newInbox()
		n.Events.Consume(q, nil, inboxes[q].take)
	}
	all := numbered(30)
	if err := n.publish(all); err != nil {
		return err
	}
	for q, in := range inboxes {
		if err := in.want(ids(all)...); err != nil {
			return fmt.Errorf("group %v: %w", q, err)
		}
	}
	return nil
}

func eventsFields(n EventsNode) error {
	in, cause := newInbox(), make(chan context.Context, 16)
	n.Events.Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		cause <- ctx
		return in.take(ctx, e)
	})
	sent := sample(7)
	if err := n.publish([]bus.Envelope{sent}); err != nil {
		return err
	}
	if err := in.want(sent.ID); err != nil {
		return err
	}
	ctx := <-cause
	if got := obs.CorrelationFrom(ctx); got != sent.Correlation {
		return fmt.Errorf("the handler's context has correlation %q, the envelope %q", got, sent.Correlation)
	}
	if got := obs.TraceFrom(ctx); got != sent.Trace {
		return fmt.Errorf("the handler's context has trace %q, the envelope %q", got, sent.Trace)
	}
	return same(in.envelope(sent.ID), sent)
}

func eventsContext(n EventsNode) error {
	in, seen := newInbox(), make(chan error, 16)
	n.Events.Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		err := foreign(ctx)
		if _, ok := ctx.Deadline(); !ok && err == nil {
			err = errors.New("the handler's context has no deadline")
		}
		seen <- err
		return in.take(ctx, e)
	})
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), mark{}, "seen"), patience)
	defer cancel()
	if err := n.Events.Publish(ctx, numbered(1)); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := in.want("e1"); err != nil {
		return err
	}
	return <-seen
}

func eventsRetry(n EventsNode) error {
	in := newInbox()
	refusals := map[string]int{"e2": 2, "e3": 1, "e4": 1}
	errs := map[string]error{
		"e2": fault.New(fault.CodeUnavailable, "on purpose"),
		"e3": context.DeadlineExceeded,
		"e4": errors.New("a plain error is internal"),
	}
	n.Events.Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		if refusals[e.ID] > 0 {
			refusals[e.ID]--
			return errs[e.ID]
		}
		return in.take(ctx, e)
	})
	all := numbered(6)
	if err := n.publish(all); err != nil {
		return err
	}
	if err := in.want(ids(all)...); err != nil {
		return err
	}
	return n.failures("unavailable", 4)
}

func eventsPanic(n EventsNode) error {
	in, broken := newInbox(), true
	n.Events.Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		if e.ID == "e2" && broken {
			broken = false
			panic("broken on purpose")
		}
		return in.take(ctx, e)
	})
	if err := n.publish(numbered(3)); err != nil {
		return err
	}
	if err := in.want("e1", "e2", "e3"); err != nil {
		return err
	}
	return n.failures("unavailable", 1)
}

func eventsDefinite(n EventsNode) error {
	in := newInbox()
	definite := map[string]fault.Code{
		"e1": fault.CodeBadRequest, "e2": fault.CodeInvalid, "e3": fault.CodeNotFound,
		"e4": fault.CodeConflict, "e6": fault.CodeForbidden,
	}
	var again atomic.Int64
	n.Events.Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		if code, ok := definite[e.ID]; ok {
			again.Add(1)
			return fault.New(code, "on purpose")
		}
		return in.take(ctx, e)
	})
	if err := n.publish(numbered(7)); err != nil {
		return err
	}
	if err := in.want("e5", "e7"); err != nil {
		return fmt.Errorf("beside events that are refused: %w", err)
	}
	if got := again.Load(); got < int64(len(definite)) {
		return fmt.Errorf("of %d events to refuse, the handler saw %d", len(definite), got)
	}
	if err := n.failures("refused", 4); err != nil {
		return err
	}
	return n.failures("malformed", 1)
}

func eventsHeldUp(n EventsNode) error {
	free, held, release := newInbox(), newInbox(), make(chan struct{})
	n.Events.Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		<-release
		return held.take(ctx, e)
	})
	n.Events.Consume(obs.QueueAuthEvents, nil, free.take)
	all := numbered(10)
	published := n.publishAside(all)
	err := free.want(ids(all)...)
	close(release)
	if err != nil {
		return fmt.Errorf("beside a group that waits: %w", err)
	}
	if err := <-published; err != nil {
		return err
	}
	return held.want(ids(all)...)
}

func eventsMalformed(n EventsNode) error {
	in := newInbox()
	n.Events.Consume(obs.QueueUserEvents, nil, in.take)
	return refuses(n.Events.Publish, in)
}

// eventsRestart stops the node while the third event cannot be handled. As the
// outbox does, the publisher repeats on the next node what was not accepted.
func eventsRestart(n EventsNode) error {
	before, after, reached := newInbox(), newInbox(), make(chan struct{}, 1)
	n.Events.Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		if e.ID != "e3" {
			return before.take(ctx, e)
		}
		select {
		case reached <- struct{}{}:
		default:
		}
		return fault.New(fault.CodeUnavailable, "on purpose")
	})
	all := numbered(5)
	published := n.publishAside(all)
	select {
	case <-reached:
	case <-time.After(patience):
		return errors.New("the third event did not reach the consumer")
	}
	next, err := n.Restart()
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	accepted := <-published
	next.Events.Consume(obs.QueueUserEvents, nil, after.take)
	if accepted != nil {
		if err := next.publish(all); err != nil {
			return err
		}
	}
	if err := before.want("e1", "e2"); err != nil {
		return fmt.Errorf("before the restart: %w", err)
	}
	return after.wantLast("e3", "e4", "e5")
}

func (n EventsNode) publish(batch []bus.Envelope) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Events.Publish(ctx, batch); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// publishAside publishes without holding up the check.
func (n EventsNode) publishAside(batch []bus.Envelope) <-chan error {
	result := make(chan error, 1)
	var aside sync.WaitGroup
	aside.Go(func() { result <- n.publish(batch) })
	return result
}

// failures waits until so many failures are counted. Repeats may add to them.
func (n EventsNode) failures(reason string, want float64) error {
	return eventually(func() error {
		if got := metric(n.Obs, `event_failures_total{reason="`+reason+`"}`); got < want {
			return fmt.Errorf("event_failures_total of %s is %v, want %v", reason, got, want)
		}
		return nil
	})
}
