package e2e

import (
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/servers"
)

// cluster is several nodes that share PostgreSQL, Redis and Kafka. Redis is the
// test's own, so that it can go away.
type cluster struct {
	redis *servers.RedisServer
	nodes []*node
}

func startCluster(t *testing.T, count int, change ...func(*config.Config)) *cluster {
	t.Helper()
	c := &cluster{redis: servers.StartRedis(t, servers.RedisOptions{})}
	share := shared(t, c.redis.URL)
	for range count {
		c.nodes = append(c.nodes, start(t, t.TempDir(), append(change, share)...))
	}
	return c
}

// shared gives configurations the servers that nodes share. A test that asks for
// them makes its deployment itself.
func shared(t *testing.T, redis string) ground {
	t.Helper()
	onlyAlone(t, ownProcesses)
	return common(t, redis)
}

// on is the same person, who asks another node.
func (p person) on(n *node) person {
	p.n = n
	return p
}

// degraded are the reasons that readiness gives beside being ready.
func (n *node) degraded() []any {
	n.t.Helper()
	a := person{n: &node{t: n.t, url: n.apps[0].AdminURL()}}.get("/readyz")
	list, _ := a.body["degraded"].([]any)
	return list
}

func TestTwoNodesAreOneNova(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2)
	one, two := c.nodes[0], c.nodes[1]
	alice, bob := one.register("alice"), two.register("bob")
	atOne, _, _ := alice.connect()
	atTwo, _, _ := bob.connect()
	k := alice.direct(bob)
	if f := atTwo.until("conversation"); f["event"] != "created" {
		t.Errorf("the other node hears %v", f)
	}
	for i := 1; i <= 20; i++ {
		atOne.write(map[string]any{"op": "send", "id": fmt.Sprint(i), "cid": fmt.Sprintf("test-%d", i), "conversation_id": k, "client_msg_id": fmt.Sprintf("c-%d", i), "body": "hi"})
		if f := atOne.until("sent"); f["seq"] != float64(i) {
			t.Fatalf("sent %v, want seq %d", f, i)
		}
		if f := atTwo.until("message"); f["cid"] != fmt.Sprintf("test-%d", i) || f["message"].(map[string]any)["seq"] != float64(i) {
			t.Fatalf("the other node hands out %v, want seq %d", f, i)
		}
	}
	atTwo.write(map[string]any{"op": "ack", "conversation_id": k, "seq": 20})
	if f := atOne.until("receipt"); f["seq"] != 20.0 || f["user_id"] != bob.id {
		t.Errorf("receipt %v", f)
	}
	atTwo.write(map[string]any{"op": "typing", "conversation_id": k, "on": true})
	atOne.until("typing")
	// A repeat is known on every node, and what is acknowledged can be read on every node.
	if a := alice.on(two).send(k, "c-7", "hi").want(t, 200); a.body["seq"] != 7.0 {
		t.Errorf("the repeat answers %v", a.body)
	}
	alice.on(two).send(k, "c-7", "ho").want(t, 409)
	a := alice.on(one).send(k, "c-21", "over REST").want(t, 201)
	if got := bob.on(two).get("/api/v1/messages/" + a.text("id")); got.status != 200 || got.body["seq"] != 21.0 {
		t.Errorf("read on the other node: %d %s", got.status, got.raw)
	}
	// A second socket of the session on another node replaces the first.
	moved, _, _ := alice.on(two).connect()
	if code := atOne.closed(); code != 4409 {
		t.Errorf("the replaced socket closed with %d", code)
	}
	bob.send(k, "b-1", "still there?").want(t, 201)
	if f := moved.until("message"); f["message"].(map[string]any)["seq"] != 22.0 {
		t.Errorf("the moved socket got %v", f)
	}
	// A ticket of one node opens a socket on another, and a session that ends
	// anywhere ends everywhere.
	ticket := alice.on(one).call("POST", "auth/ticket", nil).want(t, 200).text("ticket")
	s := person{n: two}.dial()
	s.write(map[string]any{"op": "hello", "id": "1", "ticket": ticket})
	s.until("live")
	alice.on(one).call("POST", "auth/logout", nil).want(t, 204)
	if code := s.closed(); code != 4410 {
		t.Errorf("after the logout on the other node the socket closed with %d", code)
	}
	within(t, "the end of the session on the other node", func() bool { return alice.on(two).get("/api/v1/users/me").status == 401 })
}

// TestRedisMayGo: messages cross nodes without it, a little later.
func TestRedisMayGo(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2)
	one, two := c.nodes[0], c.nodes[1]
	alice, bob := one.register("alice"), two.register("bob")
	k := alice.direct(bob)
	atTwo, _, _ := bob.connect()
	cross := func(from, to int) {
		t.Helper()
		for i := from; i <= to; i++ {
			alice.send(k, fmt.Sprintf("c-%d", i), "text").want(t, 201)
			if f := atTwo.until("message"); f["message"].(map[string]any)["seq"] != float64(i) {
				t.Fatalf("got %v, want seq %d", f, i)
			}
		}
	}
	cross(1, 3)
	if err := c.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	cross(4, 8)
	within(t, "word that Redis is away", func() bool { return fmt.Sprint(two.degraded()) == "[redis away]" })
	if err := c.redis.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, "Redis is back", func() bool { return len(one.degraded())+len(two.degraded()) == 0 })
	cross(9, 12)
}

// TestSlowIsNotAway: a server that takes long for each answer answers.
func TestSlowIsNotAway(t *testing.T) {
	t.Parallel()
	share := shared(t, servers.Redis(t))
	var line *servers.Proxy
	n := start(t, t.TempDir(), share, func(c *config.Config) {
		u, err := url.Parse(c.Database.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		line = servers.StartProxy(t, u.Host)
		u.Host = line.Addr
		c.Database = obs.NewSecret(u.String())
	})
	if err := line.Latency(200 * time.Millisecond); err != nil { // three answers take more than a second
		t.Fatal(err)
	}
	for range 8 {
		<-time.After(500 * time.Millisecond)
		a := person{n: &node{t: t, url: n.apps[0].AdminURL()}}.get("/readyz")
		if a.status != 200 {
			t.Fatalf("readiness says %s", a.raw)
		}
	}
}

// TestAnotherNodeGoesOn: a node stops, and its clients resume on another.
func TestAnotherNodeGoesOn(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2)
	one, two := c.nodes[0], c.nodes[1]
	alice, bob := one.register("alice"), one.register("bob")
	k := alice.direct(bob)
	_, welcome, _ := bob.connect()
	alice.send(k, "c-1", "before").want(t, 201)
	if l := one.stop(); l.Err != nil || l.OutboxLeft != 0 {
		t.Errorf("ledger %+v", l)
	}
	alice.on(two).send(k, "c-2", "after").want(t, 201)
	_, again, missed := bob.on(two).connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: 0}})
	wantSeqs(t, seqs(t, missed), 1, 2)
	if again["epoch"] != welcome["epoch"] {
		t.Errorf("epoch %v, was %v", again["epoch"], welcome["epoch"])
	}
	// Events of what the first committed last reach their consumers.
	carol := two.register("carol")
	within(t, "carol's profile", func() bool { return carol.get("/api/v1/users/me").status == 200 })
}

// TestServicesApart: auth in one process, the others in another, calls between
// them over mutual TLS.
func TestServicesApart(t *testing.T) {
	t.Parallel()
	share := shared(t, servers.Redis(t))
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	folder := certs.Folder{Dir: t.TempDir(), Now: time.Now}
	if err := folder.Init(time.Hour); err != nil {
		t.Fatal(err)
	}
	others := []obs.Service{obs.User, obs.Messaging, obs.Notification, obs.Media}
	identities, err := folder.Issue([][]obs.Service{{obs.Auth}, others}, nil, time.Hour/2)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	known := func(identity string) func(*config.Config) {
		return func(c *config.Config) {
			c.RPCIdentity, c.RPCTrusted = filepath.Join(folder.Dir, identity), filepath.Join(folder.Dir, "trusted.pem")
		}
	}
	authNode := start(t, t.TempDir(), share, known(identities[0]), func(c *config.Config) {
		c.Services, c.ListenGRPC = []obs.Service{obs.Auth}, addr
	})
	rest := start(t, t.TempDir(), share, known(identities[1]), func(c *config.Config) {
		c.Services, c.RPC = others, map[obs.Service][]string{obs.Auth: {addr}}
	})
	alice, bob := authNode.register("alice").on(rest), authNode.register("bob").on(rest)
	k := alice.direct(bob) // at once: auth is asked who bob is
	s, _, _ := bob.connect()
	alice.send(k, "c-1", "hi", "X-Correlation-ID", "test-123").want(t, 201)
	if f := s.until("message"); f["cid"] != "test-123" {
		t.Errorf("got %v", f)
	}
	within(t, "the profile, by event over Kafka or on first read", func() bool {
		return alice.get("/api/v1/users/"+bob.id).text("display_name") == "Bob"
	})
	bob.on(authNode).call("POST", "auth/logout", nil).want(t, 204)
	if code := s.closed(); code != 4410 {
		t.Errorf("after the logout the socket closed with %d", code)
	}
	bob.get("/api/v1/auth/sessions").want(t, 404) // not here
	for _, n := range []*node{authNode, rest} {
		paths, _ := person{n: n}.get("/openapi.json").want(t, 200).value("paths").(map[string]any)
		if paths["/api/v1/auth/login"] == nil || paths["/api/v1/messages"] == nil {
			t.Errorf("the document of a process tells of %d paths, not of all services", len(paths))
		}
	}
}
