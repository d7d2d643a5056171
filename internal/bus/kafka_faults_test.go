package bus_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/servers"
)

// A Publish that runs out of time leaves its records with the client: the repeat
// joins them, so that nothing is written twice or out of order.
func TestARepeatJoinsWhatIsOnItsWay(t *testing.T) {
	for _, err := range []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.NotLeaderForPartition} {
		t.Run(err.Message, func(t *testing.T) {
			c := fake(t)
			n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
			all := sent("conv", 1, 40)
			n.publish(all[:2]...)
			broken := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: -1})
			if err := n.bus.Events().Publish(context.Background(), all[2:]); !fault.Is(err, fault.CodeUnavailable) {
				t.Fatalf("without acknowledgement: %v", err)
			}
			again := make(chan error, 1)
			go func() { again <- n.bus.Events().Publish(context.Background(), all[2:]) }()
			for waiting := true; waiting; { // also while the repeat is under way
				if d := n.bus.Degraded(); d != "kafka away" {
					t.Fatalf("degraded by %q while nothing is acknowledged", d)
				}
				select {
				case err := <-again:
					if waiting = false; !fault.Is(err, fault.CodeUnavailable) {
						t.Fatalf("the repeat without acknowledgement: %v", err)
					}
				case <-time.After(5 * time.Millisecond):
				}
			}
			broken.Remove()
			n.publish(all[2:]...)
			if diff := cmp.Diff(names(all), idsOf(records(t, n.cfg.Brokers, n.cfg.Prefix+".messaging"))); diff != "" {
				t.Error(diff)
			}
			soon(t, "healthy again", func() bool { return n.bus.Degraded() == "" })
		})
	}
}

// That a connection ends before it said anything, as behind a proxy whose broker
// is gone, is no more than any other break: nobody gives up or waits longer.
func TestAConnectionThatEndsAtOnceIsOnlyBroken(t *testing.T) {
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	c := fake(t, kfake.NumBrokers(1), kfake.Ports(port))
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	n.bus.Events().Consume(obs.QueueUserEvents, []string{"message.sent"}, func(context.Context, bus.Envelope) error { return nil })
	n.publish(sent("conv", 1, 1)...)
	c.Close()
	stop := hangUp(t, n.cfg.Brokers[0])
	soon(t, "Kafka is away", func() bool { return n.bus.Degraded() == "kafka away" })
	<-time.After(2 * time.Second) // in which whoever gives up has done so
	if given := n.log.lines(t, "events not readable"); len(given) > 0 {
		t.Errorf("a consumer gave up: %v", given[0])
	}
	stop()
	fake(t, kfake.NumBrokers(1), kfake.Ports(port))
	soon(t, "healthy again", func() bool { return n.bus.Degraded() == "" })
}

// hangUp takes connections and ends them.
func hangUp(t *testing.T, addr string) (stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return func() { l.Close() }
}

// What was acknowledged while nobody waited is not sent again.
func TestARepeatFindsWhatWasAcknowledgedMeanwhile(t *testing.T) {
	c := fake(t)
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	all := sent("conv", 1, 10)
	n.publish(all[:1]...)
	broken := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	if err := n.bus.Events().Publish(context.Background(), all); err == nil {
		t.Fatal("published without acknowledgement")
	}
	broken.Remove()
	topic := n.cfg.Prefix + ".messaging"
	soon(t, "the client goes on by itself", func() bool { return len(records(t, n.cfg.Brokers, topic)) == 11 })
	n.publish(all...)
	want := append([]string{"conv-1"}, names(all)...)
	if diff := cmp.Diff(want, idsOf(records(t, n.cfg.Brokers, topic))); diff != "" {
		t.Error(diff)
	}
}

// A batch that is refused for good must not let the next one overtake it, in
// whichever request the refusal falls.
func TestARefusalKeepsTheOrder(t *testing.T) {
	for _, count := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			c := fake(t, kfake.NumBrokers(1))
			n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
			all := sent("conv", 1, 400)
			for i := range all {
				all[i].Payload = make([]byte, 4<<10) // 1.6 MB: several requests
			}
			n.publish(all[:1]...)
			var seen atomic.Int64
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnknownServerError, Count: 1, When: func(kmsg.Request) bool {
				return seen.Add(1) == int64(count)
			}})
			if err := n.bus.Events().Publish(context.Background(), all[1:]); !fault.Is(err, fault.CodeUnavailable) {
				t.Fatalf("a refused batch: %v", err)
			}
			if d := n.bus.Degraded(); d != "kafka refuses" {
				t.Errorf("degraded by %q", d)
			}
			n.publish(all[1:]...)
			got := firsts(idsOf(records(t, n.cfg.Brokers, n.cfg.Prefix+".messaging")))
			if !slices.Equal(got, names(all)) {
				t.Errorf("%d of %d events, in order: %v", len(got), len(all), slices.IsSortedFunc(got, func(a, b string) int { return len(a) - len(b) }))
			}
			if d := n.bus.Degraded(); d != "" {
				t.Errorf("degraded by %q after it worked", d)
			}
		})
	}
}

func TestAMissingTopicIsToldInTime(t *testing.T) {
	c := fake(t)
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	topic := n.cfg.Prefix + ".messaging"
	if err := c.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	all := sent("conv", 1, 5)
	if err := n.bus.Events().Publish(context.Background(), all); !fault.Is(err, fault.CodeUnavailable) {
		t.Fatalf("got %v", err)
	}
	if err := c.CreateTopic(topic, 3, nil); err != nil {
		t.Fatal(err)
	}
	n.publish(all...)
	if got := firsts(idsOf(records(t, n.cfg.Brokers, topic))); !slices.Equal(got, names(all)) {
		t.Errorf("got %v", got)
	}
}

// Whatever goes wrong on the way to a consumer, it gets everything, in order.
func TestConsumersSurviveFaults(t *testing.T) {
	for name, of := range map[string]kfake.Fault{
		"fetch answers that the leader moved":    {Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: 3},
		"fetch answers with an error of its own": {Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError, Count: 3},
		"the coordinator moves":                  {Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.NotCoordinator, Count: 2},
		"commits fail":                           {Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RebalanceInProgress, Count: 3},
		"commits fail for good":                  {Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.UnknownServerError, Count: 3},
		"the group rebalances":                   {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.RebalanceInProgress, TopLevel: true},
		"the member is thrown out":               {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true},
		"the member is of an old generation":     {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.IllegalGeneration, TopLevel: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fake(t)
			n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
			in, group := newOrderly(), n.cfg.Prefix+".user_events"
			n.bus.Events().Consume(obs.QueueUserEvents, []string{"message.sent"}, in.take)
			all := sent("conv", 1, 200)
			n.publish(all[:50]...)
			soon(t, "the beginning", func() bool { return in.upTo("conv") == 50 })
			hit := c.Fault(of)
			n.publish(all[50:100]...)
			ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
			defer cancel()
			if err := hit.Wait(ctx, 1); err != nil {
				t.Fatalf("the fault did not happen: %v", err)
			}
			c.ShufflePartitionLeaders()
			c.RehashCoordinators()
			n.publish(all[100:]...)
			soon(t, "all events", func() bool { return in.upTo("conv") == len(all) })
			in.check(t)
			soon(t, "all noted", func() bool { return committed(t, n.cfg.Brokers, group) == 200 })
		})
	}
}

// Offsets are those of what is handled: an event that is not handled, and those
// behind it, are never noted as done, not even when the node stops.
func TestNothingIsCommittedBeforeItIsHandled(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	group := n.cfg.Prefix + ".user_events"
	reached := make(chan struct{}, 100)
	n.bus.Events().Consume(obs.QueueUserEvents, nil, func(_ context.Context, e bus.Envelope) error {
		if e.Seq < 6 {
			return nil
		}
		reached <- struct{}{}
		return fault.New(fault.CodeUnavailable, "on purpose")
	})
	n.publish(sent("conv", 1, 20)...)
	<-reached
	soon(t, "five events noted", func() bool { return committed(t, n.cfg.Brokers, group) >= 5 })
	<-reached // a try later
	if got := committed(t, n.cfg.Brokers, group); got != 5 {
		t.Errorf("%d events noted while the sixth is not handled", got)
	}
	n.stop()
	if got := committed(t, n.cfg.Brokers, group); got != 5 {
		t.Errorf("%d events noted after the stop", got)
	}
}

// A handler that has to try again holds up its partition and no other.
func TestOnlyThePartitionWaits(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	n := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs()))
	in, release := newOrderly(), make(chan struct{})
	n.bus.Events().Consume(obs.QueueUserEvents, nil, func(ctx context.Context, e bus.Envelope) error {
		select {
		case <-release:
		default:
			if e.Key == "held" {
				return fault.New(fault.CodeUnavailable, "on purpose")
			}
		}
		return in.take(ctx, e)
	})
	n.publish(sent("held", 1, 1)...)
	held := records(t, n.cfg.Brokers, n.cfg.Prefix+".messaging")[0].Partition
	n.publish(sent("held", 2, 6000)...) // more than what may wait in memory
	free := ""
	for i := 0; free == ""; i++ { // some other partition
		name := fmt.Sprint("free", i)
		n.publish(sent(name, 0, 0)...)
		all := records(t, n.cfg.Brokers, n.cfg.Prefix+".messaging")
		for _, r := range all {
			if string(r.Key) == name && r.Partition != held {
				free = name
			}
		}
	}
	n.publish(sent(free, 1, 3000)...)
	soon(t, "the free partition is done", func() bool { return in.upTo(free) == 3000 })
	if in.upTo("held") != 0 {
		t.Error("events of the partition that waits were handled")
	}
	close(release)
	soon(t, "all is done", func() bool { return in.upTo("held") == 6000 })
	in.check(t)
}

// A stop has its time, whether there is somebody to take leave of or not.
func TestANodeStopsWithoutABroker(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	n, in := newKafkaNode(t, kafkaTopics(t, c.ListenAddrs())), newOrderly()
	n.bus.Events().Consume(obs.QueueUserEvents, nil, in.take)
	n.publish(sent("conv", 1, 3)...)
	soon(t, "the events", func() bool { return in.upTo("conv") == 3 })
	c.Close()
	if err := n.bus.Events().Publish(context.Background(), sent("conv", 4, 5)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("published to nobody: %v", err)
	}
	n.stop()
	if err := n.bus.Events().Publish(context.Background(), sent("conv", 6, 6)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("published after the stop: %v", err)
	}
}
