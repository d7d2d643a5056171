package bus_test

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/bus/bustest"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// kafkaPatience is how long a test waits for what has to come.
const kafkaPatience = 30 * time.Second

// kafkaNode is a process with events on Kafka that stops with its test.
type kafkaNode struct {
	t     *testing.T
	cfg   bus.KafkaConfig
	obs   *obs.Obs
	group *run.Group
	bus   *bus.Kafka
	log   *logBuffer
}

// fake starts a Kafka in this process.
func fake(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// kafkaTopics makes topics that no other test uses.
func kafkaTopics(t *testing.T, brokers []string) bus.KafkaConfig {
	t.Helper()
	cfg := bus.KafkaConfig{Brokers: brokers, Prefix: "t" + strings.ToLower(id.New()), Partitions: 3}
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	if err := bus.MigrateKafka(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newKafkaNode(t *testing.T, cfg bus.KafkaConfig) *kafkaNode {
	t.Helper()
	log := &logBuffer{}
	o, err := obs.New(obs.Config{Out: log})
	if err != nil {
		t.Fatal(err)
	}
	n := &kafkaNode{t: t, cfg: cfg, obs: o, group: run.New(o), log: log}
	if n.bus, err = bus.NewKafka(context.Background(), o, n.group, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n
}

func (n *kafkaNode) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if r := n.group.Stop(ctx); r.Err() != nil || r.GoroutinesLeft != 0 {
		n.t.Errorf("stop: %+v", r)
	}
}

func (n *kafkaNode) events() bustest.EventsNode {
	return bustest.EventsNode{Obs: n.obs, Events: n.bus.Events(), Restart: func() (bustest.EventsNode, error) {
		n.stop()
		return newKafkaNode(n.t, n.cfg).events(), nil
	}}
}

// publish publishes as a relay does: again until it is accepted.
func (n *kafkaNode) publish(batch ...bus.Envelope) {
	n.t.Helper()
	deadline := time.Now().Add(2 * kafkaPatience)
	for {
		err := n.bus.Events().Publish(context.Background(), batch)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("not published: %v", err)
		}
	}
}

// soon waits until ok.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(kafkaPatience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// rawKafka is a client of the test's own.
func rawKafka(t *testing.T, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// records reads everything that a topic holds, by partition and in order.
func records(t *testing.T, brokers []string, topic string) (all []*kgo.Record) {
	t.Helper()
	cl := rawKafka(t, brokers, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	var want int64
	ends.Each(func(o kadm.ListedOffset) { want += o.Offset })
	for int64(len(all)) < want {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s holds %d records, %d were read", topic, want, len(all))
		}
		f.EachRecord(func(r *kgo.Record) { all = append(all, r) })
	}
	slices.SortStableFunc(all, func(a, b *kgo.Record) int { return int(a.Partition - b.Partition) })
	return all
}

// headers gives the headers of a record by name.
func headers(r *kgo.Record) map[string]string {
	m := map[string]string{}
	for _, h := range r.Headers {
		m[h.Key] = string(h.Value)
	}
	return m
}

// idsOf gives the identifiers of records, in their order.
func idsOf(all []*kgo.Record) (ids []string) {
	for _, r := range all {
		ids = append(ids, headers(r)["id"])
	}
	return ids
}

// firsts leaves out what was there before.
func firsts(ids []string) (out []string) {
	for _, id := range ids {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// sent makes message.sent events e<from> to e<to> of one conversation.
func sent(key string, from, to int) (list []bus.Envelope) {
	for n := from; n <= to; n++ {
		list = append(list, bus.Envelope{
			ID: fmt.Sprintf("%s-%d", key, n), Type: "message.sent", Key: key, Seq: int64(n), Pos: int64(n),
			At: time.Now(), Correlation: "test-123", Payload: []byte(fmt.Sprintf(`{"n":%d}`, n)),
		})
	}
	return list
}

func names(list []bus.Envelope) (ids []string) {
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids
}

// committed is the offset that a group has noted, summed over partitions.
func committed(t *testing.T, brokers []string, group string) (n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), kafkaPatience)
	defer cancel()
	all, err := kadm.NewClient(rawKafka(t, brokers)).FetchOffsets(ctx, group)
	if err != nil {
		t.Fatal(err)
	}
	all.Each(func(o kadm.OffsetResponse) { n += max(0, o.At) })
	return n
}

// metricOf reads one series as a scrape gives it.
func metricOf(o *obs.Obs, series string) string {
	rec := httptest.NewRecorder()
	o.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(rec.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value
		}
	}
	return ""
}

// orderly notes what was handled: how many of each conversation, and whether
// first occurrences came in order.
type orderly struct {
	mu    sync.Mutex
	seen  map[string]int64
	wrong []string
	total int
}

func newOrderly() *orderly { return &orderly{seen: map[string]int64{}} }

func (o *orderly) take(_ context.Context, e bus.Envelope) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total++
	last, known := o.seen[e.Key]
	switch {
	case !known && e.Seq <= 1, e.Seq == last+1:
		o.seen[e.Key] = e.Seq
	case !known || e.Seq > last:
		o.wrong = append(o.wrong, fmt.Sprintf("%s after %d", e.ID, last))
	}
	return nil
}

// upTo is the last of a conversation that came in order.
func (o *orderly) upTo(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(o.seen[name])
}

func (o *orderly) check(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.wrong) > 0 {
		t.Errorf("%d events came before others of their conversation: %.200v", len(o.wrong), o.wrong)
	}
}

// freePort is an address at which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
