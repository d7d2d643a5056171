package bus_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/bus/bustest"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

func TestKafkaEventsOnAFake(t *testing.T) {
	c := fake(t)
	bustest.Events(t, func(t *testing.T) bustest.EventsNode {
		return newKafkaNode(t, kafkaTopics(t, c.ListenAddrs())).events()
	})
}

// What a record holds is an interface: others read it too.
func TestRecordsAreAsDocumented(t *testing.T) {
	c := fake(t)
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	e := sent("conv", 7, 7)[0]
	e.Origin, e.Trace = "socket-1", traceparent
	n.publish(e)
	all := records(t, n.cfg.Brokers, n.cfg.Prefix+".messaging")
	if len(all) != 1 || string(all[0].Key) != "conv" || string(all[0].Value) != `{"n":7}` {
		t.Fatalf("records %v", all)
	}
	got := headers(all[0])
	if got["at"] == "" {
		t.Error("no header at")
	}
	delete(got, "at")
	want := map[string]string{"id": "conv-7", "type": "message.sent", "x-correlation-id": "test-123", "traceparent": traceparent, "origin": "socket-1", "pos": "7", "seq": "7"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEventsHaveTheirTopics(t *testing.T) {
	c := fake(t)
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	for kind, topic := range map[string]string{
		"user.registered": "accounts", "user.renamed": "accounts", "message.sent": "messaging",
		"conversation.created": "messaging", "conversation.changed": "messaging", "device.added": "other",
	} {
		n.publish(bus.Envelope{ID: kind, Type: kind, Key: "k", Correlation: "test-123"})
		found := false
		for _, r := range records(t, n.cfg.Brokers, n.cfg.Prefix+"."+topic) {
			found = found || headers(r)["type"] == kind
		}
		if !found {
			t.Errorf("%s is not in topic %s", kind, topic)
		}
	}
}

func TestTooLargeEventsAreRefusedBeforeAnythingIsWritten(t *testing.T) {
	c := fake(t)
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	batch := sent("conv", 1, 2)
	batch[1].Payload = make([]byte, 1<<20)
	if err := n.bus.Events().Publish(context.Background(), batch); !fault.Is(err, fault.CodeTooLarge) {
		t.Errorf("got %v", err)
	}
	if all := records(t, n.cfg.Brokers, n.cfg.Prefix+".messaging"); len(all) != 0 {
		t.Errorf("%d records were written", len(all))
	}
	batch[1].Payload = make([]byte, 900<<10-10) // the largest that is taken
	n.publish(batch...)
}

func TestLagIsWhatTheGroupHasNotHandled(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	step := make(chan struct{})
	n.bus.Events().Consume(obs.QueueUserEvents, []string{"message.sent"}, func(context.Context, bus.Envelope) error { <-step; return nil })
	n.publish(sent("conv", 1, 3)...)
	for _, want := range []string{"3", "2", "1", "0"} {
		soon(t, "a lag of "+want, func() bool {
			return metricOf(n.obs, `queue_processing_lag_messages{queue="user_events"}`) == want
		})
		if want != "0" {
			step <- struct{}{}
		}
	}
}

func TestOneKafkaConsumerForAQueue(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	h := func(context.Context, bus.Envelope) error { return nil }
	n.bus.Events().Consume(obs.QueueUserEvents, nil, h)
	defer func() {
		if recover() == nil {
			t.Error("a second consumer of the queue was accepted")
		}
	}()
	n.bus.Events().Consume(obs.QueueUserEvents, nil, h)
}
