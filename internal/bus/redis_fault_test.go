package bus_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/test/servers"
)

// events are e<from> to e<to>.
func events(from, to int) (list []bus.Envelope) {
	for i := from; i <= to; i++ {
		list = append(list, event(i))
	}
	return list
}

// through is the URL by way of a proxy.
func through(t *testing.T, address string, p *servers.Proxy) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = p.Addr
	return u.String()
}

// A node whose connection breaks goes on where it was: what others published
// meanwhile arrives, in order, and without the word of a gap.
func TestReconnectLosesNothing(t *testing.T) {
	address := servers.Redis(t)
	p := servers.StartProxy(t, hostOf(t, address))
	from, to := newRedisNode(t, at(address)), newRedisNode(t, at(through(t, address, p)))
	got := to.subscribe()
	for round := range 3 {
		first := round*30 + 1
		from.relay(events(first, first+9)...)
		got.want(first, first+9)
		_ = []func() error{p.Refuse, p.Cut, p.Reset}[round]()
		to.state("redis away")
		from.relay(events(first+10, first+19)...)
		_ = p.Restore()
		to.state("")
		from.relay(events(first+20, first+29)...)
		got.want(first+10, first+29)
	}
	if away, back := to.log.lines(t, "the fan-out between nodes is down; trying again"), to.log.lines(t, "the fan-out between nodes is back"); len(away) != 3 || len(back) != 3 {
		t.Errorf("%d lines that it is down and %d that it is back, want 3 of each", len(away), len(back))
	}
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestKilledRedisThatKeepsItsData(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{AOF: true})
	from, to := newRedisNode(t, at(s.URL)), newRedisNode(t, at(s.URL))
	got := to.subscribe()
	from.relay(events(1, 50)...)
	_ = s.Kill()
	to.state("redis away")
	from.state("redis away")
	if err := from.publish(event(51)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("published without Redis: %v", err)
	}
	if err := from.publish(event(0)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("a hint without Redis: %v", err)
	}
	_ = s.Start()
	from.relay(events(51, 100)...)
	got.want(1, 100)
}

func TestKilledRedisThatForgets(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	from, to := newRedisNode(t, at(s.URL)), newRedisNode(t, at(s.URL))
	got := to.subscribe()
	for round := range 3 {
		first := round*20 + 1
		from.relay(events(first, first+9)...)
		got.want(first, first+9)
		_ = s.Kill()
		to.state("redis away")
		_ = s.Start()
		got.wantGap()
		from.relay(events(first+10, first+19)...)
		got.want(first+10, first+19)
	}
}

func TestFlushedRedis(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	from, to := newRedisNode(t, at(s.URL)), newRedisNode(t, at(s.URL))
	got, c := to.subscribe(), raw(t, s.URL)
	from.relay(events(1, 10)...)
	got.want(1, 10)
	if err := c.FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	got.wantGap()
	from.relay(events(11, 20)...)
	got.want(11, 20)
}

// New entries may have lower ids than the old ones, when the clock of the server
// was put back. XREAD alone would wait for ever.
func TestFlushedRedisWithAnOlderClock(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	n, ctx := newRedisNode(t, at(s.URL)), context.Background()
	got, c := n.subscribe(), raw(t, s.URL)
	n.relay(event(1))
	got.want(1, 1)
	pipe := c.TxPipeline()
	pipe.FlushAll(ctx)
	for i := range 5 {
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: "nova:fanout", ID: fmt.Sprintf("%d-1", i+1), Values: []string{"type", "t", "correlation_id", "c", "event", fmt.Sprintf("e%d  0 0 ", i+2)}})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	got.wantGap()
	got.want(2, 6)
}

// While Redis stands still nothing waits for it for long: positions get a
// retryable error, hints are taken and go out when it moves again, or not.
func TestStoppedRedis(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	from, to := newRedisNode(t, at(s.URL)), newRedisNode(t, at(s.URL))
	got := to.subscribe()
	from.relay(events(1, 10)...)
	got.want(1, 10)
	_ = s.Pause()
	if err := from.publish(event(0)); err != nil {
		t.Errorf("a hint: %v", err)
	}
	if err := from.publish(event(11)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("a position: %v", err)
	}
	from.state("redis away")
	to.state("redis away")
	if err := from.publish(event(0)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("a hint, later: %v", err)
	}
	<-time.After(2 * time.Second)
	_ = s.Continue()
	to.state("")
	from.relay(events(11, 20)...)
	ids, gaps := got.until("e20")
	ids = deleteHints(ids)
	if len(ids) != 10 || ids[0] != "e11" || gaps != 0 {
		t.Errorf("arrived %v with %d gaps", ids, gaps)
	}
}

func deleteHints(ids []string) (rest []string) {
	for _, id := range ids {
		if id != "e0" {
			rest = append(rest, id)
		}
	}
	return rest
}

func TestASlowReaderThatWasTrimmedPastLearnsIt(t *testing.T) {
	address := servers.Redis(t)
	cfg := at(address)
	cfg.Length = 100
	from, to := newRedisNode(t, cfg), newRedisNode(t, cfg)
	got, hold, held := to.subscribe(), make(chan struct{}), make(chan struct{}, 1)
	defer to.redis.Fanout().Subscribe("slow", func(context.Context, []bus.Envelope) {
		select {
		case held <- struct{}{}:
		default:
		}
		<-hold
	})()
	from.relay(event(1))
	select {
	case <-held:
	case <-time.After(long):
		t.Fatal("nothing arrived")
	}
	for i := range 20 {
		from.relay(events(i*100+2, i*100+101)...)
	}
	close(hold)
	ids, gaps := got.until("e2001")
	if gaps == 0 && len(ids) == 2001 {
		t.Fatal("nothing was trimmed")
	}
	if gaps == 0 { // it is noticed at the next check, behind what is there
		got.wantGap()
	}
	last := 0
	for _, id := range ids {
		var n int
		if _, err := fmt.Sscanf(id, "e%d", &n); err != nil || n <= last {
			t.Fatalf("%s after e%d", id, last)
		}
		last = n
	}
	from.relay(events(2002, 2010)...)
	got.want(2002, 2010)
}

func TestFullRedisIsToldApart(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	n, c, ctx := newRedisNode(t, at(s.URL)), raw(t, s.URL), context.Background()
	got := n.subscribe()
	if err := c.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := n.publish(events(1, 3)...); !fault.Is(err, fault.CodeUnavailable) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("published to a full Redis: %v", err)
	}
	n.state("redis refuses")
	if err := n.publish(event(0)); err != nil {
		t.Fatal(err)
	}
	if err := n.publish(event(1)); err == nil {
		t.Error("published to a full Redis")
	}
	n.wantMetric(`event_failures_total{reason="unavailable"} 1`) // the hint
	if err := c.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	n.relay(events(1, 3)...)
	n.state("")
	got.want(1, 3)
}

// Who starts without Redis has everything that is published from when Redis is
// there, and knows that it may lack what was before.
func TestRedisThatComesLater(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	_ = s.Stop()
	n := newRedisNode(t, at(s.URL))
	if got := n.redis.Degraded(); got != "redis away" {
		t.Errorf("degraded says %q", got)
	}
	got := n.subscribe()
	_ = s.Start()
	got.wantGap()
	n.relay(events(1, 5)...)
	got.want(1, 5)
}
