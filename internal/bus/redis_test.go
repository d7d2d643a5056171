package bus_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/bus/bustest"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/servers"
)

// long is how long a test waits for what has to come.
const long = 20 * time.Second

// redisNode is a process on the Redis bus that stops with its test.
type redisNode struct {
	*node
	redis *bus.Redis
}

func newRedisNode(t *testing.T, cfg bus.RedisConfig) *redisNode {
	t.Helper()
	n := newNode(t)
	r, err := bus.NewRedis(context.Background(), n.obs, n.group, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &redisNode{n, r}
}

func at(url string) bus.RedisConfig { return bus.RedisConfig{URL: obs.NewSecret(url)} }

func (n *redisNode) publish(batch ...bus.Envelope) error {
	return n.redis.Fanout().Publish(context.Background(), batch)
}

// relay publishes as the outbox's relay does: again, until it works.
func (n *redisNode) relay(batch ...bus.Envelope) {
	n.t.Helper()
	var wait bus.Backoff
	for end := time.Now().Add(long); n.publish(batch...) != nil; {
		if time.Now().After(end) {
			n.t.Fatalf("%d envelopes could not be published", len(batch))
		}
		wait.Wait(context.Background(), nil)
		wait.Reset()
	}
}

// arrivals is what a subscriber was given.
type arrivals struct {
	t  *testing.T
	ch chan bus.Envelope
}

func (n *redisNode) subscribe() *arrivals {
	n.t.Helper()
	a := &arrivals{n.t, make(chan bus.Envelope, 100_000)}
	n.t.Cleanup(n.redis.Fanout().Subscribe("test", func(_ context.Context, batch []bus.Envelope) {
		for _, e := range batch {
			a.ch <- e
		}
	}))
	return a
}

func (a *arrivals) next() bus.Envelope {
	a.t.Helper()
	return a.by(time.After(long))
}

func (a *arrivals) by(end <-chan time.Time) bus.Envelope {
	a.t.Helper()
	select {
	case e := <-a.ch:
		return e
	case <-end:
		a.t.Fatal("it did not arrive")
		panic("unreachable")
	}
}

// until gives what arrives up to the envelope with that id, each once, gaps counted.
func (a *arrivals) until(id string) (ids []string, gaps int) {
	a.t.Helper()
	end := time.After(long)
	for seen := map[string]bool{}; ; {
		switch e := a.by(end); {
		case e.Type == bus.TypeGap:
			gaps++
		case !seen[e.ID]:
			seen[e.ID] = true
			ids = append(ids, e.ID)
		}
		if len(ids) > 0 && ids[len(ids)-1] == id {
			return ids, gaps
		}
	}
}

// want waits for exactly e<from> to e<to>, without a gap.
func (a *arrivals) want(from, to int) {
	a.t.Helper()
	var want []string
	for i := from; i <= to; i++ {
		want = append(want, fmt.Sprint("e", i))
	}
	got, gaps := a.until(fmt.Sprint("e", to))
	if diff := cmp.Diff(want, got); diff != "" || gaps > 0 {
		a.t.Errorf("arrived with %d gaps (-want +got):\n%s", gaps, diff)
	}
}

func (a *arrivals) wantGap() {
	a.t.Helper()
	for a.next().Type != bus.TypeGap {
	}
}

// state waits until Degraded says so.
func (n *redisNode) state(want string) {
	n.t.Helper()
	got := n.redis.Degraded()
	for end := time.Now().Add(long); got != want && time.Now().Before(end); got = n.redis.Degraded() {
		<-time.After(5 * time.Millisecond)
	}
	if got != want {
		n.t.Fatalf("degraded says %q, want %q", got, want)
	}
}

// raw is a client of the test's own.
func raw(t testing.TB, url string) *redis.Client {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opt)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRedisFanout(t *testing.T) {
	bustest.Fanout(t, func(t *testing.T) bustest.FanoutNodes {
		cfg := at(servers.Redis(t))
		var nodes []bus.Fanout
		for range 3 {
			nodes = append(nodes, newRedisNode(t, cfg).redis.Fanout())
		}
		return bustest.FanoutNodes{Publisher: nodes[0], Nodes: nodes[1:]}
	})
}

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestEntriesShowTheirFields(t *testing.T) {
	url := servers.Redis(t)
	cfg := at(url)
	cfg.Stream, cfg.Epoch = "other", func() string { return "epoch-1" }
	n := newRedisNode(t, cfg)
	e := bus.Envelope{
		ID: "id-1", Type: "message.sent", Key: "conversation-1", Seq: 3, Pos: 7, At: time.UnixMicro(1_700_000_000_123_456),
		Correlation: "test-123", Trace: traceparent, Origin: "socket-1", Payload: []byte("{\"a\":\"\x00\r\n\"}"),
	}
	if err := n.publish(e); err != nil {
		t.Fatal(err)
	}
	list, err := raw(t, url).XRange(context.Background(), "other:fanout", "-", "+").Result()
	if err != nil || len(list) != 1 {
		t.Fatalf("%d entries, %v", len(list), err)
	}
	want := map[string]any{
		"epoch": "epoch-1", "pos": "7", "type": "message.sent", "event": "id-1 conversation-1 3 1700000000123456 socket-1",
		"correlation_id": "test-123", "traceparent": traceparent, "payload": "{\"a\":\"\x00\r\n\"}",
	}
	if diff := cmp.Diff(want, list[0].Values); diff != "" {
		t.Errorf("the entry (-want +got):\n%s", diff)
	}
}

func TestCorrelationsNeverMix(t *testing.T) {
	cfg := at(servers.Redis(t))
	from, to := newRedisNode(t, cfg), newRedisNode(t, cfg)
	got := to.subscribe()
	const all = 1000
	var senders sync.WaitGroup
	for i := range all {
		senders.Go(func() {
			s := strconv.Itoa(i)
			e := bus.Envelope{ID: "id-" + s, Type: "message.sent", Pos: int64(i%2) * int64(i), Correlation: obs.Correlation("c-" + s), Key: "k-" + s, Payload: []byte("p-" + s)}
			for from.publish(e) != nil {
				<-time.After(time.Millisecond)
			}
		})
	}
	senders.Wait()
	seen := map[string]bool{}
	for len(seen) < all {
		e := got.next()
		s := strings.TrimPrefix(e.ID, "id-")
		if string(e.Correlation) != "c-"+s || e.Key != "k-"+s || string(e.Payload) != "p-"+s {
			t.Fatalf("%s arrived as %+v", s, e)
		}
		seen[s] = true
	}
}

func TestAnotherStoresPositionsAreDropped(t *testing.T) {
	url := servers.Redis(t)
	epoch := func(s string) bus.RedisConfig {
		cfg := at(url)
		cfg.Epoch = func() string { return s }
		return cfg
	}
	old, none, now := newRedisNode(t, epoch("old")), newRedisNode(t, epoch("")), newRedisNode(t, epoch("now"))
	got, all := now.subscribe(), none.subscribe()
	hint := event(0)
	for _, n := range []*redisNode{old, none, now} {
		n.relay(event(1), event(2), hint)
	}
	now.relay(event(10))
	ids, _ := got.until("e10")
	if diff := cmp.Diff([]string{"e0", "e1", "e2", "e10"}, ids); diff != "" {
		t.Errorf("with an epoch of its own (-want +got):\n%s", diff)
	}
	if ids, _ := all.until("e10"); len(ids) != 4 || ids[0] != "e1" {
		t.Errorf("without an epoch arrived %v, want everything", ids)
	}
	now.wantMetric(`event_failures_total{reason="refused"} 4`)
}

func TestUnreadableEntriesArePassedOver(t *testing.T) {
	url := servers.Redis(t)
	n := newRedisNode(t, at(url))
	got, c, ctx := n.subscribe(), raw(t, url), context.Background()
	good := []string{"type", "t", "event", "x  0 0 ", "correlation_id", "c", "pos", "0"}
	bad := [][]string{
		{"a", "b"},
		{"", ""},
		append(slices.Clone(good), "pos", "-1"),
		append(slices.Clone(good), "pos", "99999999999999999999"),
		append(slices.Clone(good), "event", "x  one 0 "),
		append(slices.Clone(good), "event", "x  -1 0 "),
		append(slices.Clone(good), "event", "x  0  "),
		append(slices.Clone(good), "event", "x  0 0"),
		append(slices.Clone(good), "event", "%x  0 0 "),
		append(slices.Clone(good), "event", ""),
		append(slices.Clone(good), "correlation_id", "not a correlation"),
		append(slices.Clone(good), "type", ""),
		append(slices.Clone(good), "payload", strings.Repeat("x", 1<<20+1)),
	}
	for _, values := range bad {
		if err := c.XAdd(ctx, &redis.XAddArgs{Stream: "nova:fanout", Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.XAdd(ctx, &redis.XAddArgs{Stream: "nova:fanout", Values: append(good, "traceparent", "later")}).Err(); err != nil {
		t.Fatal(err)
	}
	if e := got.next(); e.ID != "x" {
		t.Errorf("arrived %+v", e)
	}
	n.relay(event(1))
	got.want(1, 1)
	n.wantMetric(fmt.Sprintf(`event_failures_total{reason="malformed"} %d`, len(bad)))
	n.state("")
}

func TestTooLargeIsLeftOut(t *testing.T) {
	n := newRedisNode(t, at(servers.Redis(t)))
	got := n.subscribe()
	large, most := event(2), event(3)
	large.Payload, most.Payload = make([]byte, 1<<20+1), make([]byte, 1<<20)
	n.relay(event(1), large, most)
	if ids, _ := got.until("e3"); len(ids) != 2 {
		t.Errorf("arrived %v", ids)
	}
	n.wantMetric(`event_failures_total{reason="malformed"} 1`)
	if lines := n.log.lines(t, "an envelope is too large for the fan-out"); len(lines) != 1 || lines[0]["correlation_id"] != "test-123" {
		t.Errorf("log: %v", lines)
	}
}

func TestTheStreamIsTrimmedBySize(t *testing.T) {
	url := servers.Redis(t)
	cfg := at(url)
	cfg.Length = 200
	n := newRedisNode(t, cfg)
	for i := range 20 {
		var batch []bus.Envelope
		for j := range 100 {
			batch = append(batch, event(i*100+j+1))
		}
		n.relay(batch...)
	}
	if held := raw(t, url).XLen(context.Background(), "nova:fanout").Val(); held < 200 || held > 400 {
		t.Errorf("the stream holds %d entries", held)
	}
}

func TestAnEndedContextPublishesNothing(t *testing.T) {
	n := newRedisNode(t, at(servers.Redis(t)))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.redis.Fanout().Publish(ended, []bus.Envelope{event(1)}); !fault.Is(err, fault.CodeCanceled) {
		t.Errorf("got %v", err)
	}
	if err := n.publish(); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

func TestAfterTheStopNothingIsPublished(t *testing.T) {
	n := newRedisNode(t, at(servers.Redis(t)))
	n.subscribe()
	n.stop()
	for _, e := range []bus.Envelope{event(0), event(1)} {
		if err := n.publish(e); !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("pos %d: %v", e.Pos, err)
		}
	}
}
