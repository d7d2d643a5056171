package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/test/servers"
)

// TestLimitsAreOneForAllNodes: what one node let through counts on the other;
// without Redis each keeps to its half.
func TestLimitsAreOneForAllNodes(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	redis := servers.StartRedis(t, servers.RedisOptions{})
	share := shared(t, redis.URL)
	limited := func(c *config.Config) {
		c.Limits.LoginsPerAddress = config.Rate{Count: 1, Per: time.Minute, Burst: 8}
		c.Limits.RequestsPerUser = config.Rate{Count: 1, Per: time.Minute, Burst: 20}
	}
	var nodes []*node
	for range 2 {
		nodes = append(nodes, start(t, t.TempDir(), share, limited))
	}
	alice, bob := nodes[0].register("alice"), nodes[0].register("bob")
	// through asks the nodes in turn and counts what is answered with 200.
	through := func(attempts int, ask func(n *node) answer) (n int) {
		t.Helper()
		for i := range attempts {
			switch a := ask(nodes[i%2]); a.status {
			case 200:
				n++
			case 429:
			default:
				t.Fatalf("answered %d: %s", a.status, a.raw)
			}
			<-time.After(20 * time.Millisecond) // or some of it would be one burst on both
		}
		return n
	}
	logins := through(30, func(n *node) answer {
		return person{n: n}.call("POST", "auth/login", map[string]any{"username": alice.name, "password": phrase, "device_id": "d"})
	})
	if logins < 8 || logins > 12 { // 16 if each counted for itself
		t.Errorf("%d logins of one address, want 8 or a few more", logins)
	}
	requests := through(80, func(n *node) answer { return alice.on(n).get("/api/v1/users/me") })
	if requests < 20 || requests > 30 { // 40 if each counted for itself
		t.Errorf("%d requests of one user, want 20 or a few more", requests)
	}
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		within(t, "word that Redis is away", func() bool { return slices.Contains(n.degraded(), any("redis away")) })
	}
	<-time.After(200 * time.Millisecond) // limits follow readiness by a moment
	if requests := through(80, func(n *node) answer { return bob.on(n).get("/api/v1/users/me") }); requests < 16 || requests > 24 {
		t.Errorf("%d requests of one user without Redis, want 10 on each node", requests)
	}
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		within(t, "Redis is back", func() bool { return len(n.degraded()) == 0 })
	}
}
