package servers_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-chat/nova/test/servers"
)

func kafka(t *testing.T, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// topic makes one with as many replicas as the server has by default.
func topic(t *testing.T, brokers []string) string {
	t.Helper()
	name := fmt.Sprintf("test-%d", time.Now().UnixNano())
	if _, err := kadm.NewClient(kafka(t, brokers)).CreateTopic(t.Context(), 1, -1, nil, name); err != nil {
		t.Fatal(err)
	}
	return name
}

func produce(t *testing.T, brokers []string, topic, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := kafka(t, brokers).ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func consume(t *testing.T, brokers []string, topic string, opts ...kgo.Opt) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	opts = append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	got := kafka(t, brokers, opts...).PollFetches(ctx)
	if err := got.Err(); err != nil {
		t.Fatal(err)
	}
	return string(got.Records()[0].Value)
}

func TestKafkaShared(t *testing.T) {
	brokers := servers.Kafka(t)
	name := topic(t, brokers)
	produce(t, brokers, name, "hello")
	if got := consume(t, brokers, name, kgo.ConsumerGroup(name)); got != "hello" {
		t.Errorf("consumed %q", got)
	}
}

func TestKafkaSurvivesAndPauses(t *testing.T) {
	s := servers.StartKafka(t, servers.KafkaOptions{Ways: 2})
	name := topic(t, s.Brokers)
	produce(t, s.Brokers, name, "hello")
	waysLeadToKafka(t, s, name)
	if err := errors.Join(s.Kill(), s.Start()); err != nil {
		t.Fatal(err)
	}
	if got := consume(t, s.Brokers, name); got != "hello" {
		t.Errorf("after a kill: consumed %q", got)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	// The library's own deadline counts here: it does not cancel a first request.
	impatient := kafka(t, s.Brokers, kgo.RequestTimeoutOverhead(300*time.Millisecond), kgo.RequestRetries(0))
	if err := impatient.Ping(t.Context()); err == nil {
		t.Error("a paused server answers")
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	produce(t, s.Brokers, name, "again")
}

// waysLeadToKafka: who comes by a way stays on it, so that it can be cut, and
// nobody else notices.
func waysLeadToKafka(t *testing.T, s *servers.KafkaServer, name string) {
	t.Helper()
	before, err := s.End(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	cut, whole := []string{s.Ways[0][0].Addr}, []string{s.Ways[1][0].Addr}
	produce(t, cut, name, "one")
	if err := s.Ways[0][0].Cut(); err != nil {
		t.Fatal(err)
	}
	impatient := kafka(t, cut, kgo.RequestTimeoutOverhead(300*time.Millisecond), kgo.RequestRetries(0))
	if err := impatient.Ping(t.Context()); err == nil {
		t.Error("a way that is cut leads to Kafka")
	}
	produce(t, whole, name, "two")
	end, err := s.End(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := s.Records(t.Context(), before, end, func(r servers.KafkaRecord) { got = append(got, string(r.Value)) }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[one two]" {
		t.Errorf("the topic holds %q after the first", got)
	}
	if err := s.Ways[0][0].Restore(); err != nil {
		t.Fatal(err)
	}
}

func TestKafkaMovesItsLeader(t *testing.T) {
	s := servers.StartKafka(t, servers.KafkaOptions{Nodes: 3})
	name := topic(t, s.Brokers)
	produce(t, s.Brokers, name, "hello")
	before := leader(t, s.Brokers, name)
	if err := s.Nodes[before-1].Kill(); err != nil {
		t.Fatal(err)
	}
	others := append(append([]string{}, s.Brokers[:before-1]...), s.Brokers[before:]...)
	produce(t, others, name, "again")
	if after := leader(t, others, name); after == before {
		t.Errorf("node %d still leads after its end", after)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); leader(t, s.Brokers, name) != before; <-time.After(100 * time.Millisecond) {
		if err := s.Lead(t.Context()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("node %d does not lead again", before)
		}
	}
}

func leader(t *testing.T, brokers []string, topic string) int {
	t.Helper()
	topics, err := kadm.NewClient(kafka(t, brokers)).ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return int(topics[topic].Partitions[0].Leader)
}
