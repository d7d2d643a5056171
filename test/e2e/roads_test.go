package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/ws"
	"github.com/nova-chat/nova/test/servers"
)

// apart is auth in one process and the rest in another, which calls it through a
// proxy, with a Redis of their own.
func apart(t *testing.T) (auth, rest *node, way *servers.Proxy, redis *servers.RedisServer) {
	t.Helper()
	redis = servers.StartRedis(t, servers.RedisOptions{})
	share := shared(t, redis.URL)
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	way = servers.StartProxy(t, addr)
	auth = start(t, t.TempDir(), share, func(c *config.Config) { c.Services, c.ListenGRPC = []obs.Service{obs.Auth}, addr })
	rest = start(t, t.TempDir(), share, func(c *config.Config) {
		c.Services = []obs.Service{obs.User, obs.Messaging, obs.Notification, obs.Media}
		c.RPC = map[obs.Service][]string{obs.Auth: {way.Addr}}
	})
	return auth, rest, way, redis
}

// refused says whether a socket is refused with 503.
func (p person) refused() bool {
	p.n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(p.n.url, "http")+"/api/v1/ws", ws.DialOptions{Header: http.Header{"Authorization": {"Bearer " + p.access}}})
	if err == nil {
		c.Drop()
		return false
	}
	r, ok := errors.AsType[*ws.RefusedError](err)
	if !ok {
		p.n.t.Fatal(err)
	}
	return r.Status == 503
}

// TestSessionsEndOverEitherRoad: the word of a session that ended comes by auth's
// log and by Redis. Where neither answers there are no new sockets, and after 30 s
// no old ones.
func TestSessionsEndOverEitherRoad(t *testing.T) {
	t.Parallel()
	auth, rest, way, redis := apart(t)
	wantEnded := func(name string) {
		t.Helper()
		p := auth.register(name)
		s, _, _ := p.on(rest).connect()
		p.on(auth).call("POST", "auth/logout", nil).want(t, 204)
		if code := s.closed(); code != 4410 {
			t.Errorf("closed with %d", code)
		}
	}
	dave := auth.register("dave").on(rest)
	s, _, _ := dave.connect()
	if err := way.Cut(); err != nil {
		t.Fatal(err)
	}
	wantEnded("alice") // by Redis alone
	within(t, "word that the log is away", func() bool { return len(rest.log.lines(t, "log of ended sessions does not answer")) > 0 })
	if err := errors.Join(way.Restore(), redis.Kill()); err != nil {
		t.Fatal(err)
	}
	within(t, "word that Redis is away", func() bool { return slices.Contains(rest.degraded(), any("redis away")) })
	within(t, "auth's log again", func() bool { return len(rest.log.lines(t, "log of ended sessions answers")) > 1 })
	wantEnded("bob") // by the log alone
	if err := way.Cut(); err != nil {
		t.Fatal(err)
	}
	within(t, "the refusal of new sockets", dave.refused)
	if !slices.Contains(rest.degraded(), any("ended sessions unheard of")) {
		t.Errorf("degraded by %v", rest.degraded())
	}
	if err := s.c.SetReadDeadline(time.Now().Add(3 * patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.c.Read(); ws.CloseCode(err) != 1013 {
		t.Errorf("the open socket: %v", err)
	}
	if err := errors.Join(way.Restore(), redis.Start()); err != nil {
		t.Fatal(err)
	}
	within(t, "everything again", func() bool { return !dave.refused() && len(auth.degraded())+len(rest.degraded()) == 0 })
}

// TestASocketReplacesAnotherWithoutRedis: of two sockets of a session on two
// nodes one stays, though hints do not get through.
func TestASocketReplacesAnotherWithoutRedis(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2)
	one, two := c.nodes[0], c.nodes[1]
	alice, bob := one.register("alice"), two.register("bob")
	k := alice.direct(bob)
	first, _, _ := bob.connect()
	if err := c.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		within(t, "word that Redis is away", func() bool { return slices.Contains(n.degraded(), any("redis away")) })
	}
	second, _, _ := bob.on(one).connect()
	if code := first.closed(); code != 4409 {
		t.Errorf("the first socket closed with %d", code)
	}
	alice.send(k, "c-1", "still there?").want(t, 201)
	if f := second.until("message"); f["message"].(map[string]any)["seq"] != 1.0 {
		t.Errorf("the second got %v", f)
	}
	if err := c.redis.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, "Redis is back", func() bool { return len(one.degraded())+len(two.degraded()) == 0 })
}

// TestATraceGoesOn: the context of somebody else's trace goes with what a request
// causes, to the records in Kafka, the entries in Redis and the logs of both processes.
func TestATraceGoesOn(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent := "00-" + id + "-00f067aa0ba902b7-01"
	auth, rest, _, _ := apart(t)
	alice := auth.register("alice", "traceparent", parent).on(rest)
	k := alice.direct(auth.register("bob")) // asks auth by RPC
	alice.send(k, "c-1", "hi", "traceparent", parent).want(t, 201)
	alice.call("POST", "conversations", map[string]any{"kind": "direct", "member_ids": []string{auth.register("carol").id}}, "traceparent", parent).want(t, 201)
	traced := func(n *node, msg string) func() bool {
		return func() bool {
			return slices.ContainsFunc(n.log.lines(t, msg), func(l map[string]any) bool { return l["trace_id"] == id })
		}
	}
	within(t, "the event of the registration at user", traced(rest, "event handled"))
	within(t, "the call at auth", traced(auth, "call"))

	kafka := &servers.KafkaServer{Brokers: rest.cfg.Kafka}
	found := map[string]bool{}
	within(t, "the records", func() bool {
		topics := []string{rest.cfg.Prefix + ".messaging", rest.cfg.Prefix + ".accounts"}
		end, err := kafka.End(t.Context(), topics...)
		if err == nil {
			err = kafka.Records(t.Context(), servers.KafkaPlace{}, end, func(r servers.KafkaRecord) {
				if r.Headers["traceparent"] == parent {
					found[r.Headers["type"]] = true
				}
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		return found["user.registered"] && found["message.sent"] && found["conversation.created"]
	})
	within(t, "the entry of the message in Redis", func() bool {
		return slices.ContainsFunc(servers.Entries(t, rest.cfg.Redis.Reveal(), rest.cfg.Prefix+":fanout"), func(e map[string]string) bool {
			return e["type"] == "message.sent" && e["traceparent"] == parent
		})
	})
}

// TestEventsCrossProcesses: what auth publishes is handled by user in another
// process, and the other way round, with the cause of each: over Kafka, for there
// is no other road.
func TestEventsCrossProcesses(t *testing.T) {
	t.Parallel()
	auth, rest, _, _ := apart(t)
	alice := auth.register("alice", "X-Correlation-ID", "test-registered")
	handled := func(n *node, queue, kind, cause string) func() bool {
		return func() bool {
			return slices.ContainsFunc(n.log.lines(t, "event handled"), func(l map[string]any) bool {
				return l["queue"] == queue && l["type"] == kind && l["correlation_id"] == cause
			})
		}
	}
	within(t, "the registration at user", handled(rest, "user_events", "user.registered", "test-registered"))
	alice.on(rest).call("PATCH", "users/me", map[string]any{"display_name": "Alice the Second"}, "X-Correlation-ID", "test-renamed").want(t, 200)
	within(t, "the new name at auth", handled(auth, "auth_events", "user.renamed", "test-renamed"))
	a := person{n: auth}.call("POST", "auth/login", map[string]any{"username": "alice", "password": phrase}).want(t, 200)
	if got := a.text("user", "display_name"); got != "Alice the Second" {
		t.Errorf("auth knows her as %q", got)
	}
}
