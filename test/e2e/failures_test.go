package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/ws"
	"github.com/nova-chat/nova/test/servers"
)

// What docs/failures.md says of an outage, each line of it.

// outage is two nodes with a Redis and a Kafka of their own, and a way to
// PostgreSQL that can be cut. Alice is on the first node, Bob on the second.
type outage struct {
	t            *testing.T
	postgres     *servers.Proxy
	redis        *servers.RedisServer
	kafka        *servers.KafkaServer
	nodes        []*node
	alice, bob   person
	atAlice      *ear
	atBob        *ear
	conversation string
	sent         int // messages so far
}

func startOutage(t *testing.T) *outage {
	t.Helper()
	o := &outage{t: t, redis: servers.StartRedis(t, servers.RedisOptions{}), kafka: servers.StartKafka(t, servers.KafkaOptions{})}
	database := changed(t, servers.Postgres(t), func(u *url.URL) {
		o.postgres = servers.StartProxy(t, u.Host)
		u.Host = o.postgres.Addr
	})
	share := func(c *config.Config) {
		c.Database, c.Redis, c.Kafka, c.Seal = obs.NewSecret(database), obs.NewSecret(o.redis.URL), o.kafka.Brokers, seal
		c.Prefix, c.Nodes = "t-"+strings.ToLower(id.New()), 2
	}
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	share(&cfg)
	if err := app.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		o.nodes = append(o.nodes, start(t, t.TempDir(), share, func(c *config.Config) { c.Prefix = cfg.Prefix }))
	}
	o.alice, o.bob = o.nodes[0].register("alice"), o.nodes[1].register("bob")
	o.conversation = o.alice.direct(o.bob)
	o.atAlice, o.atBob = o.alice.listen(), o.bob.listen()
	return o
}

// ear is a socket that is read all the time, as clients do, so that the server's
// pings are answered however long the test looks elsewhere.
type ear struct {
	*socket
	frames chan map[string]any // closed when the socket is
	end    error               // why it closed
}

func (p person) listen() *ear {
	p.n.t.Helper()
	s, _, _ := p.connect()
	e := &ear{socket: s, frames: make(chan map[string]any, 1000)}
	_ = s.c.SetReadDeadline(time.Time{}) // the end of the test closes it
	go func() {
		defer close(e.frames)
		for {
			b, err := s.c.Read()
			var f map[string]any
			if e.end = err; err != nil || json.Unmarshal(b, &f) != nil {
				return
			}
			e.frames <- f
		}
	}()
	return e
}

// read gives the next frame.
func (e *ear) read() map[string]any {
	e.t.Helper()
	select {
	case f, open := <-e.frames:
		if !open {
			e.t.Fatalf("the socket closed: %v", e.end)
		}
		return f
	case <-time.After(patience):
		e.t.Fatal("waited in vain for a frame")
	}
	return nil
}

// until reads up to the next frame with that op, and gives it.
func (e *ear) until(op string) map[string]any {
	e.t.Helper()
	for {
		if f := e.read(); f["op"] == op {
			return f
		}
	}
}

// closed reads to the end and gives the close code.
func (e *ear) closed() int {
	e.t.Helper()
	for range e.frames {
	}
	return ws.CloseCode(e.end)
}

// promised fails the test if something took longer than it may. A machine that
// tests many things at once gets three times as much.
func promised(t *testing.T, what string, begin time.Time, most time.Duration) {
	t.Helper()
	if took := time.Since(begin); took > 3*most {
		t.Errorf("%s took %v, may take %v", what, took, most)
	}
}

// crosses sends messages from node to node, over REST and the socket by turns.
func (o *outage) crosses(t *testing.T, count int) {
	t.Helper()
	for range count {
		o.sent++
		begin, id := time.Now(), fmt.Sprintf("c-%d", o.sent)
		if o.sent%2 == 0 {
			o.alice.send(o.conversation, id, "text").want(t, 201)
		} else {
			o.atAlice.write(o.frame(id))
			o.atAlice.until("sent")
		}
		if f := o.atBob.until("message"); f["message"].(map[string]any)["seq"] != float64(o.sent) {
			t.Fatalf("got %v, want seq %d", f, o.sent)
		}
		promised(t, "a message to the other node", begin, 2*time.Second)
	}
}

func (o *outage) frame(id string) map[string]any {
	return map[string]any{"op": "send", "id": id, "conversation_id": o.conversation, "client_msg_id": id, "body": "text"}
}

// says waits until both nodes say that they are ready, and what is away.
func (o *outage) says(t *testing.T, want ...any) {
	t.Helper()
	begin := time.Now()
	for _, n := range o.nodes {
		within(t, fmt.Sprintf("readiness to say %v", want), func() bool {
			a := n.readiness()
			list, _ := a.body["degraded"].([]any)
			return a.status == 200 && slices.Equal(list, want)
		})
	}
	promised(t, "readiness", begin, 2*time.Second)
}

func (n *node) readiness() answer {
	n.t.Helper()
	return person{n: &node{t: n.t, url: n.apps[0].AdminURL()}}.get("/readyz")
}

func TestOutages(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	o := startOutage(t)
	o.crosses(t, 4)
	for _, c := range []struct {
		name string
		run  func(*outage, *testing.T)
	}{
		{"Redis", (*outage).withoutRedis},
		{"Kafka", (*outage).withoutKafka},
		{"Redis and Kafka", (*outage).withoutBoth},
		{"PostgreSQL refuses", func(o *outage, t *testing.T) { o.withoutPostgres(t, o.postgres.Refuse) }},
		{"PostgreSQL is silent", func(o *outage, t *testing.T) { o.withoutPostgres(t, o.postgres.Cut) }},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(o, t) })
	}
	o.says(t)
	o.crosses(t, 4)
}

// withoutRedis: everything goes on, a little later from node to node.
func (o *outage) withoutRedis(t *testing.T) {
	if err := o.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	o.crosses(t, 3)
	o.says(t, "redis away")
	o.crosses(t, 3)
	// A receipt for the other node is lost, and counted.
	before := o.nodes[1].metrics(t)
	o.atBob.write(map[string]any{"op": "ack", "conversation_id": o.conversation, "seq": o.sent})
	within(t, "the loss to be counted", func() bool {
		return o.nodes[1].added(t, before, "event_failures_total")[`event_failures_total{reason="unavailable"}`] > 0
	})
	// Auth's log says who has logged out.
	carol := o.nodes[0].register("carol")
	s, _, _ := carol.on(o.nodes[1]).connect()
	carol.call("POST", "auth/logout", nil).want(t, 204)
	if code := s.closed(); code != 4410 {
		t.Errorf("after the logout on the other node the socket closed with %d", code)
	}
	if err := o.redis.Start(); err != nil {
		t.Fatal(err)
	}
	o.says(t)
	o.crosses(t, 2)
}

// withoutKafka: everything goes on, and events come when it is back.
func (o *outage) withoutKafka(t *testing.T) {
	if err := o.kafka.Kill(); err != nil {
		t.Fatal(err)
	}
	o.says(t, "kafka away")
	o.crosses(t, 4)
	dave := o.nodes[0].register("dave")
	k := dave.direct(o.bob) // at once: auth is asked who exists
	dave.send(k, "d-1", "hi").want(t, 201)
	erin := o.nodes[0].register("erin")
	if a := dave.get("/api/v1/users/" + erin.id); a.status != 200 || a.text("display_name") != "Erin" {
		t.Errorf("a profile that nobody made yet: %d %s", a.status, a.raw)
	}
	if err := o.kafka.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, "Kafka to be found", func() bool { return len(o.nodes[0].degraded())+len(o.nodes[1].degraded()) == 0 })
	within(t, "dave's profile, by the event", func() bool {
		return slices.ContainsFunc(o.nodes, func(n *node) bool { return len(n.log.lines(t, `"op":"user.registered","user_id":"`+dave.id)) > 0 })
	})
	within(t, "the outboxes to be empty", func() bool {
		left := 0.0
		for _, n := range o.nodes {
			for name, v := range n.metrics(t) {
				if strings.HasPrefix(name, "outbox_unpublished_events") {
					left += v
				}
			}
		}
		return left == 0
	})
	o.atBob.until("conversation") // dave's
	o.atBob.until("message")
}

// withoutBoth: messages go from node to node by way of the database.
func (o *outage) withoutBoth(t *testing.T) {
	if err := errors.Join(o.redis.Kill(), o.kafka.Kill()); err != nil {
		t.Fatal(err)
	}
	o.crosses(t, 3)
	o.says(t, "redis away", "kafka away")
	o.crosses(t, 3)
	if err := errors.Join(o.redis.Start(), o.kafka.Start()); err != nil {
		t.Fatal(err)
	}
	within(t, "both to be found", func() bool { return len(o.nodes[0].degraded())+len(o.nodes[1].degraded()) == 0 })
}

// withoutPostgres: nothing is stored and nobody is told otherwise; sockets stay.
func (o *outage) withoutPostgres(t *testing.T, fault func() error) {
	if err := fault(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for _, n := range o.nodes {
		within(t, "readiness to say so", func() bool {
			a := n.readiness()
			return a.status == 503 && strings.Contains(fmt.Sprint(a.body["reasons"]), "does not answer")
		})
	}
	promised(t, "readiness", begin, 2*time.Second)
	var ids []string
	for i := range 3 {
		id := fmt.Sprintf("p-%d-%d", o.sent, i)
		ids = append(ids, id)
		begin := time.Now()
		o.alice.send(o.conversation, id, "text").wantProblem(t, 503, "unavailable", "")
		promised(t, "the answer over REST", begin, time.Second)
		begin = time.Now()
		o.atAlice.write(o.frame(id))
		for answered := false; !answered; {
			switch f := o.atAlice.read(); f["op"] {
			case "error":
				if answered = true; f["code"] != "unavailable" || f["retryable"] != true {
					t.Errorf("the socket answers %v", f)
				}
			case "sent":
				t.Fatalf("the socket answers %v", f)
			}
		}
		promised(t, "the answer over the socket", begin, time.Second)
	}
	o.bob.call("GET", "conversations", nil).wantProblem(t, 503, "unavailable", "")
	person{n: o.nodes[0]}.call("POST", "auth/login", map[string]any{"username": "bob", "password": phrase}).wantProblem(t, 503, "unavailable", "")
	if err := o.postgres.Restore(); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	for _, id := range ids {
		o.sent++
		if seq := o.alice.sendUntil(t, o.conversation, id); seq != o.sent {
			t.Errorf("%s has seq %d, want %d", id, seq, o.sent)
		}
		if f := o.atBob.until("message"); f["message"].(map[string]any)["seq"] != float64(o.sent) {
			t.Errorf("got %v, want seq %d", f, o.sent)
		}
	}
	promised(t, "the repeats", begin, 10*time.Second)
	o.says(t)
	o.crosses(t, 2) // over the sockets that were open all the time
}

// TestAuthAway: who is signed in goes on, nobody else comes in, and nobody new is
// found.
func TestAuthAway(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	owners := startOwners(t, func(c *config.Config) { c.AccessTTL = 25 * time.Second })
	behind := map[string][]string{}
	for s, n := range owners {
		behind[s.String()] = []string{strings.TrimPrefix(n.url, "http://")}
	}
	n := &node{t: t, url: "http://" + startNginx(t, "services", behind)}
	alice, bob, carol := n.register("alice"), n.register("bob"), n.register("carol")
	k := alice.direct(bob)
	atAlice, atBob := alice.listen(), bob.listen()
	messaging := owners[obs.Messaging]
	within(t, "user to have made her profile from the event", func() bool {
		return len(alice.call("GET", "users?q=alice", nil).want(t, 200).value("items").([]any)) == 1
	})

	if l := owners[obs.Auth].stop(); l.Err != nil {
		t.Error(l.Err)
	}
	within(t, "readiness to say so", func() bool {
		return messaging.readiness().status == 200 && slices.Contains(messaging.degraded(), any("auth away"))
	})
	atAlice.write(map[string]any{"op": "send", "id": "1", "conversation_id": k, "client_msg_id": "c-1", "body": "hi"})
	atAlice.until("sent")
	alice.send(k, "c-2", "hi").want(t, 201)
	atBob.until("message")
	atBob.until("message")
	alice.call("GET", "users/me", nil).want(t, 200)
	person{n: n}.call("POST", "auth/login", map[string]any{"username": "bob", "password": phrase}).wantProblem(t, 503, "unavailable", "")
	person{n: n}.call("POST", "auth/register", map[string]any{"username": "dave", "password": phrase}).wantProblem(t, 503, "unavailable", "")
	bob.call("POST", "auth/ticket", nil).wantProblem(t, 503, "unavailable", "")
	group := func(ids ...string) answer {
		return alice.call("POST", "conversations", map[string]any{"kind": "group", "name": "Team", "member_ids": ids})
	}
	group(bob.id).want(t, 201)
	group(bob.id, carol.id).wantProblem(t, 503, "unavailable", "")
	again := bob.listen() // by the proof that he has
	if code := atBob.closed(); code != 4409 {
		t.Errorf("the socket that was replaced closed with %d", code)
	}
	within(t, "the proofs to run out", func() bool { return alice.call("GET", "users/me", nil).status == 401 })
	atAlice.write(map[string]any{"op": "send", "id": "3", "conversation_id": k, "client_msg_id": "c-3", "body": "hi"})
	atAlice.until("sent") // a socket lives as long as its session
	again.until("message")
	alice.call("POST", "auth/refresh", map[string]any{"refresh_token": alice.refresh}).wantProblem(t, 503, "unavailable", "")

	cfg := owners[obs.Auth].cfg
	cfg.ListenPublic = behind["auth"][0]
	owners[obs.Auth] = start(t, cfg.DataDir, func(c *config.Config) { *c = cfg })
	within(t, "auth to be found", func() bool { return len(messaging.degraded()) == 0 })
	within(t, "the proxy to find it", func() bool {
		return alice.call("POST", "auth/refresh", map[string]any{"refresh_token": alice.refresh}).status == 200
	})
}

// TestANodeDies: its clients go on at another one with everything that was
// acknowledged, and that one relays the events that it left behind.
func TestANodeDies(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	nova := build(t)
	cfg := config.Default()
	shared(t, servers.Redis(t))(&cfg)
	settings := with(sharing(cfg.Database.Reveal()), "REDIS", cfg.Redis.Reveal(), "KAFKA", strings.Join(cfg.Kafka, ","), "PREFIX", cfg.Prefix)
	one, two := begin(t, nova, maps.Clone(settings)), begin(t, nova, maps.Clone(settings))
	one.until(`"ready"`)
	two.until(`"ready"`)
	first, second := &node{t: t, url: "http://" + one.public}, &node{t: t, url: "http://" + two.public}
	alice, bob := first.register("alice"), second.register("bob")
	k := alice.direct(bob)
	s, welcome, _ := alice.connect()
	alice.send(k, "c-1", "before").want(t, 201)
	s.until("message")
	erin := first.register("erin") // whose event may not have been relayed
	one.stop(syscall.SIGKILL)
	if code := s.closed(); code >= 4400 || code == 1000 {
		t.Errorf("the socket closed with %d", code)
	}
	begun := time.Now()
	bob.send(k, "c-2", "after").want(t, 201)
	_, again, missed := alice.on(second).connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: 1}})
	wantSeqs(t, seqs(t, missed), 2, 2)
	if again["epoch"] != welcome["epoch"] {
		t.Errorf("epoch %v, was %v", again["epoch"], welcome["epoch"])
	}
	alice.on(second).send(k, "c-1", "before").want(t, 200)
	promised(t, "going on elsewhere", begun, 5*time.Second)
	within(t, "the other node to relay what every service publishes", func() bool { return len(two.log.lines(t, "this process relays the outbox")) == 3 })
	if a := bob.get("/api/v1/users/" + erin.id); a.status != 200 || a.text("display_name") != "Erin" {
		t.Errorf("a profile whose event may be on its way: %d %s", a.status, a.raw)
	}
	two.until(`"ready"`)
}
