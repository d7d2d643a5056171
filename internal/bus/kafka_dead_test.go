package bus_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

func TestRefusedEventsAreKeptAsDeadLetters(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	in := newOrderly()
	n.bus.Events().Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		if e.Seq == 2 {
			_ = in.take(ctx, e)
			return fault.New(fault.CodeConflict, "it is there already")
		}
		return in.take(ctx, e)
	})
	n.publish(sent("conv", 1, 3)...)
	soon(t, "the third event", func() bool { return in.upTo("conv") == 3 })
	dead := records(t, n.cfg.Brokers, n.cfg.Prefix+".messaging.dead")
	if len(dead) != 1 || string(dead[0].Key) != "conv" || string(dead[0].Value) != `{"n":2}` {
		t.Fatalf("dead letters %v", dead)
	}
	got := headers(dead[0])
	from := got["dead-from"]
	delete(got, "at")
	delete(got, "dead-from")
	want := map[string]string{
		"id": "conv-2", "type": "message.sent", "x-correlation-id": "test-123", "pos": "2", "seq": "2",
		"dead-reason": "refused", "dead-code": "conflict", "dead-queue": "user_events",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(from, n.cfg.Prefix+".messaging/") || !strings.HasSuffix(from, "/1") {
		t.Errorf("it came from %q", from)
	}
	if v := metricOf(n.obs, `event_failures_total{reason="refused"}`); v != "1" {
		t.Errorf("event_failures_total is %s", v)
	}
	lines := n.log.lines(t, "event set aside")
	if len(lines) != 1 || lines[0]["correlation_id"] != "test-123" || lines[0]["service"] != "user" {
		t.Errorf("logged %v", lines)
	}
}

// What cannot be Nova's is set aside too, and holds up nobody.
func TestUnreadableRecordsAreDeadLetters(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	in, topic := newOrderly(), n.cfg.Prefix+".messaging"
	var wild []*kgo.Record
	for _, h := range [][]kgo.RecordHeader{
		nil,
		{{Key: "type", Value: []byte("message.sent")}, {Key: "id", Value: []byte("x")}}, // without a cause
		{{Key: "type", Value: []byte("message.sent")}, {Key: "x-correlation-id", Value: []byte("a b\n")}},
		{{Key: "type", Value: []byte("message.sent")}, {Key: "x-correlation-id", Value: []byte("ok")}, {Key: "pos", Value: []byte("many")}},
	} {
		wild = append(wild, &kgo.Record{Topic: topic, Key: []byte("conv"), Value: []byte{0xff}, Headers: h})
	}
	if err := rawKafka(t, n.cfg.Brokers).ProduceSync(context.Background(), wild...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	n.bus.Events().Consume(obs.QueueUserEvents, []string{"message.sent"}, in.take)
	n.publish(sent("conv", 1, 1)...)
	soon(t, "the good event", func() bool { return in.upTo("conv") == 1 })
	dead := records(t, n.cfg.Brokers, topic+".dead")
	if len(dead) != len(wild) {
		t.Fatalf("%d dead letters, want %d", len(dead), len(wild))
	}
	for _, r := range dead {
		if h := headers(r); h["dead-reason"] != "malformed" || h["dead-queue"] != "user_events" {
			t.Errorf("headers %v", h)
		}
	}
	if v := metricOf(n.obs, `log_lines_uncorrelated_total`); v != "0" {
		t.Errorf("%s lines have no correlation", v)
	}
}

// An outage is not the event's fault, however long it takes, and neither is a panic.
func TestAnOutageIsNoReasonToSetAside(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	in := newOrderly()
	var tries atomic.Int64
	n.bus.Events().Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		switch tries.Add(1) {
		case 1, 2:
			return fault.New(fault.CodeUnavailable, "the database is away")
		case 3:
			return context.DeadlineExceeded
		case 4:
			return fault.New(fault.CodeOverloaded, "later")
		case 5:
			panic("broken on purpose")
		}
		return in.take(ctx, e)
	})
	n.publish(sent("conv", 1, 3)...)
	soon(t, "all events", func() bool { return in.upTo("conv") == 3 })
	in.check(t)
	if dead := records(t, n.cfg.Brokers, n.cfg.Prefix+".messaging.dead"); len(dead) != 0 {
		t.Errorf("%d dead letters", len(dead))
	}
	if v := metricOf(n.obs, `panics_total{site="event"}`); v != "1" {
		t.Errorf("panics_total is %s", v)
	}
}

// The partition waits for the dead letter: without it the event would be gone.
func TestDeadLettersAreNotLostEither(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	group, dead := n.cfg.Prefix+".user_events", n.cfg.Prefix+".messaging.dead"
	broken := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: dead, Err: kerr.UnknownServerError, Count: -1})
	var calls atomic.Int64
	n.bus.Events().Consume(obs.QueueUserEvents, nil, func(context.Context, bus.Envelope) error {
		calls.Add(1)
		return fault.New(fault.CodeNotFound, "nobody")
	})
	n.publish(sent("conv", 1, 1)...)
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	if err := broken.Wait(ctx, 3); err != nil {
		t.Fatal(err)
	}
	if got := committed(t, n.cfg.Brokers, group); got != 0 {
		t.Errorf("%d events noted before the dead letter was kept", got)
	}
	broken.Remove()
	soon(t, "the event noted", func() bool { return committed(t, n.cfg.Brokers, group) == 1 })
	if got := len(records(t, n.cfg.Brokers, dead)); got != 1 || calls.Load() != 1 {
		t.Errorf("%d dead letters after %d calls, want 1 and 1", got, calls.Load())
	}
}
