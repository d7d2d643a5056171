package bus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/bus/bustest"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/servers"
)

func TestKafkaEvents(t *testing.T) {
	brokers := servers.Kafka(t)
	bustest.Events(t, func(t *testing.T) bustest.EventsNode {
		return newKafkaNode(t, kafkaTopics(t, brokers)).events()
	})
}

// stream publishes count events for each of some conversations, turn by turn,
// and gives the number of turns done.
func (n *kafkaNode) stream(conversations, count int) (turn *atomic.Int64, wait func()) {
	turn = new(atomic.Int64)
	var done sync.WaitGroup
	done.Go(func() {
		for i := 1; i <= count; i++ {
			var batch []bus.Envelope
			for c := range conversations {
				batch = append(batch, sent(fmt.Sprint("conv", c), i, i)...)
			}
			n.publish(batch...)
			turn.Store(int64(i))
		}
	})
	return turn, done.Wait
}

func (o *orderly) all(t *testing.T, conversations, count int) {
	t.Helper()
	for c := range conversations {
		name := fmt.Sprint("conv", c)
		soon(t, fmt.Sprintf("%d events of %s (now %d)", count, name, o.upTo(name)), func() bool { return o.upTo(name) >= count })
	}
	o.check(t)
}

// Members come and go in mid-stream: nothing is lost or out of order.
func TestRebalancesLoseNothing(t *testing.T) {
	const conversations, count = 20, 150
	cfg := kafkaTopics(t, servers.Kafka(t))
	in := newOrderly()
	var working sync.Map // conversations of which an event is in work, on whichever node
	take := func(ctx context.Context, e bus.Envelope) error {
		if _, twice := working.LoadOrStore(e.Key, e.ID); twice {
			t.Errorf("%s is in work while one before it is", e.ID)
		}
		defer working.Delete(e.Key)
		work := time.Millisecond // so that a rebalance meets events in work
		if e.Seq%40 == 30 {
			work = 150 * time.Millisecond
		}
		<-time.After(work)
		return in.take(ctx, e)
	}
	member := func() *kafkaNode {
		n := newKafkaNode(t, cfg)
		n.bus.Events().Consume(obs.QueueUserEvents, []string{"message.sent"}, take)
		return n
	}
	first := member()
	turn, wait := newKafkaNode(t, cfg).stream(conversations, count)
	soon(t, "a beginning", func() bool { return turn.Load() > 20 && in.upTo("conv0") > 5 })
	second := member()
	soon(t, "the middle", func() bool { return turn.Load() > 80 })
	third := member()
	first.stop()
	wait()
	fourth := member()
	second.stop()
	third.stop()
	in.all(t, conversations, count)
	soon(t, "everything noted", func() bool {
		return committed(t, cfg.Brokers, cfg.Prefix+".user_events") == conversations*count
	})
	fourth.stop()
	if most := conversations*count + 500; in.total > most {
		t.Errorf("%d events were handled %d times", conversations*count, in.total)
	}
}

// A group is put together anew while one of its members does not answer, as after
// a SIGKILL: who stops meanwhile does not wait for that, and is not waited for.
func TestAStopDoesNotWaitForTheGroup(t *testing.T) {
	cfg := kafkaTopics(t, servers.Kafka(t))
	name := cfg.Prefix + ".user_events"
	silent := rawKafka(t, cfg.Brokers, kgo.ConsumerGroup(name), kgo.ConsumeTopics(cfg.Prefix+".messaging"),
		kgo.SessionTimeout(time.Minute), kgo.RebalanceTimeout(time.Minute), kgo.BlockRebalanceOnPoll())
	t.Cleanup(silent.AllowRebalance)
	newKafkaNode(t, cfg).publish(bus.Envelope{ID: id.New(), Type: "message.sent", Key: "k", Correlation: "c", At: time.Now()})
	if err := silent.PollFetches(t.Context()).Err(); err != nil { // and from here on it lets nobody in
		t.Fatal(err)
	}
	group := func() kadm.DescribedGroup {
		all, err := kadm.NewClient(silent).DescribeGroups(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return all[name]
	}
	n := newKafkaNode(t, cfg)
	n.bus.Events().Consume(obs.QueueUserEvents, []string{"message.sent"}, func(context.Context, bus.Envelope) error { return nil })
	soon(t, "a group that waits", func() bool { g := group(); return g.State == "PreparingRebalance" && len(g.Members) == 2 })
	n.stop() // which fails the test if a step is not done in time
	if g := group(); len(g.Members) != 1 {
		t.Errorf("%d members after the stop, want the silent one", len(g.Members))
	}
}

// The broker is killed with records on their way, twice: what was accepted is
// there, once, in order, and consumers go on.
func TestAKilledBrokerLosesNothing(t *testing.T) {
	const conversations, count = 10, 400
	server := servers.StartKafka(t, servers.KafkaOptions{})
	cfg := kafkaTopics(t, server.Brokers)
	n, in := newKafkaNode(t, cfg), newOrderly()
	n.bus.Events().Consume(obs.QueueUserEvents, nil, in.take)
	turn, wait := n.stream(conversations, count)
	for _, at := range []int64{100, 250} {
		soon(t, "the next kill", func() bool { return turn.Load() > at })
		_ = server.Kill()
		soon(t, "it is noticed", func() bool { return n.bus.Degraded() == "kafka away" })
		_ = server.Start()
		soon(t, "it is noticed that it is back", func() bool { return n.bus.Degraded() == "" })
	}
	wait()
	in.all(t, conversations, count)
	byConversation := map[string][]string{}
	for _, r := range records(t, cfg.Brokers, cfg.Prefix+".messaging") {
		byConversation[string(r.Key)] = append(byConversation[string(r.Key)], headers(r)["id"])
	}
	for c := range conversations {
		name := fmt.Sprint("conv", c)
		if got := byConversation[name]; !slices.Equal(got, names(sent(name, 1, count))) {
			t.Errorf("%s: %d records, %d of them first, want %d in order", name, len(got), len(firsts(got)), count)
		}
	}
}

// A broker that does not answer although its connections are open is noticed,
// and nothing is published twice because of it.
func TestAPausedBrokerIsNoticed(t *testing.T) {
	server := servers.StartKafka(t, servers.KafkaOptions{})
	cfg := kafkaTopics(t, server.Brokers)
	n := newKafkaNode(t, cfg)
	all := sent("conv", 1, 50)
	n.publish(all[:10]...)
	_ = server.Pause()
	// A busy machine may take a moment to stop the process after the signal.
	soon(t, "it is noticed", func() bool { return n.bus.Degraded() == "kafka away" })
	if err := n.bus.Events().Publish(context.Background(), all[10:]); !fault.Is(err, fault.CodeUnavailable) {
		t.Fatalf("published to a broker that is stopped: %v", err)
	}
	_ = server.Continue()
	n.publish(all[10:]...)
	soon(t, "it is noticed that it is back", func() bool { return n.bus.Degraded() == "" })
	if got := idsOf(records(t, cfg.Brokers, cfg.Prefix+".messaging")); !slices.Equal(got, names(all)) {
		t.Errorf("%d records, want %d in order", len(got), len(all))
	}
}
