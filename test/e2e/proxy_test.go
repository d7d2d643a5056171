package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/ws"
	"github.com/nova-chat/nova/test/servers"
)

// front is a proxy with a configuration from deploy, as clients see it. Between
// it and each node is a way that can be cut.
type front struct {
	*node
	nodes []*node
	ways  []*servers.Proxy
}

// proxies start a real proxy with a shipped configuration in which the
// operator's values are replaced, and give its address. What is behind it goes by
// the names of the services, or by "nodes".
var proxies = map[string]func(t *testing.T, file string, behind map[string][]string) (addr string){
	"nginx": startNginx,
	"caddy": startCaddy,
}

var (
	nginxInclude  = regexp.MustCompile(`include (nova/[a-z]+\.conf);`)
	nginxUpstream = regexp.MustCompile(`(?s)upstream (nova\w*) \{.*?\n\}`)
	nginxServer   = regexp.MustCompile(`\tserver \S+( .*)\n`)
	caddyValue    = regexp.MustCompile(`\{\$NOVA_([A-Z]+):[^}]*\}`)
)

func deployed(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func startNginx(t *testing.T, file string, behind map[string][]string) string {
	t.Helper()
	text := deployed(t, "nginx/"+file+".conf")
	for nginxInclude.MatchString(text) { // which may include others
		text = nginxInclude.ReplaceAllStringFunc(text, func(s string) string {
			return deployed(t, "nginx/"+nginxInclude.FindStringSubmatch(s)[1])
		})
	}
	text = nginxUpstream.ReplaceAllStringFunc(text, func(block string) string {
		addrs := slices.Clone(behindUpstream(t, nginxUpstream.FindStringSubmatch(block)[1], behind))
		return nginxServer.ReplaceAllStringFunc(block, func(line string) string {
			if len(addrs) == 0 {
				return "" // the file has more of them than the test
			}
			line = "\tserver " + addrs[0] + nginxServer.FindStringSubmatch(line)[1] + "\n"
			addrs = addrs[1:]
			return line
		})
	})
	s := servers.Nginx(t, func(addr string) string {
		for old, put := range map[string]string{
			"listen 443 ssl;": "listen " + addr + ";",
			"ssl_certificate /etc/nginx/chat.example.com.pem;":     "",
			"ssl_certificate_key /etc/nginx/chat.example.com.key;": "",
		} {
			if !strings.Contains(text, old) {
				t.Fatalf("the file has no line %s", old)
			}
			text = strings.Replace(text, old, put, 1)
		}
		return text
	})
	return s.Addr
}

func behindUpstream(t *testing.T, upstream string, behind map[string][]string) []string {
	t.Helper()
	name := strings.TrimPrefix(strings.TrimPrefix(upstream, "nova"), "_")
	if all := behind["nodes"]; all != nil {
		return all
	}
	if name == "sockets" {
		name = obs.Messaging.String()
	}
	if behind[name] == nil {
		t.Fatalf("the file knows upstream %s, the test does not", upstream)
	}
	return behind[name]
}

func startCaddy(t *testing.T, file string, behind map[string][]string) string {
	t.Helper()
	text := deployed(t, "caddy/"+file+".Caddyfile")
	snippets, err := filepath.Abs(filepath.Join("..", "..", "deploy", "caddy", "nova.snippets"))
	if err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(text, "import nova.snippets", "import "+snippets, 1)
	s := servers.Caddy(t, func(addr string) string {
		return caddyValue.ReplaceAllStringFunc(text, func(s string) string {
			name := strings.ToLower(caddyValue.FindStringSubmatch(s)[1])
			if name == "site" {
				return "http://" + addr
			}
			if behind[name] == nil {
				t.Fatalf("the file knows %s, the test does not", s)
			}
			return strings.Join(behind[name], " ")
		})
	})
	return s.Addr
}

// startFront starts two all-in-one nodes behind a proxy.
func startFront(t *testing.T, proxy string, change ...func(*config.Config)) *front {
	t.Helper()
	c := startCluster(t, 2, append(change, func(c *config.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		c.Limits.ConnectsPerAddress = config.Rate{Count: 100, Per: time.Hour, Burst: 100}
	})...)
	f := &front{nodes: c.nodes}
	var addrs []string
	for _, n := range c.nodes {
		way := servers.StartProxy(t, strings.TrimPrefix(n.url, "http://"))
		f.ways, addrs = append(f.ways, way), append(addrs, way.Addr)
	}
	f.node = &node{t: t, url: "http://" + proxies[proxy](t, "nodes", map[string][]string{"nodes": addrs})}
	return f
}

func TestNodesBehindAProxy(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	for proxy := range proxies {
		t.Run(proxy, func(t *testing.T) {
			t.Parallel()
			f := startFront(t, proxy, func(c *config.Config) {
				if proxy == "caddy" { // which asks whether a node is ready
					c.DrainWait = 3 * time.Second
				}
			})
			alice, bob := f.register("alice"), f.register("bob")
			k := alice.direct(bob)
			f.chat(t, alice, bob, k)
			f.sizes(t, alice)
			f.addresses(t)
			f.repeats(t, alice, k)
			f.loss(t, alice, bob, k)
			f.drain(t, alice, k, proxy == "caddy")
			f.nobody(t, alice)
		})
	}
}

// chat: sockets are spread over the nodes, frames and identifiers pass.
func (f *front) chat(t *testing.T, alice, bob person, k string) {
	t.Helper()
	atAlice, _, _ := alice.connect()
	atBob, _, _ := bob.connect()
	for _, n := range f.nodes {
		within(t, "a socket on each node", func() bool { return n.metrics(t)["active_connections"] == 1 })
	}
	atAlice.write(map[string]any{"op": "send", "id": "2", "cid": "test-123", "conversation_id": k, "client_msg_id": "c-1", "body": "hi"})
	atAlice.until("sent")
	if m := atBob.until("message"); m["cid"] != "test-123" {
		t.Errorf("bob got %v", m)
	}
	a := alice.send(k, "c-2", "hi", "X-Correlation-ID", "test-124").want(t, 201)
	if m := atBob.until("message"); m["cid"] != "test-124" || a.header.Get("X-Correlation-ID") != "test-124" {
		t.Errorf("bob got %v, alice the identifier %q", m, a.header.Get("X-Correlation-ID"))
	}
	if id := alice.call("GET", "users/me", nil, "X-Correlation-ID", "not one").header.Get("X-Correlation-ID"); !identifier.MatchString(id) {
		t.Errorf("the identifier is %q", id)
	}
}

var identifier = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// sizes: what Nova refuses is refused in Nova's words, and what is larger than
// anything that it takes, in the same form.
func (f *front) sizes(t *testing.T, alice person) {
	t.Helper()
	for _, size := range []int{100 << 10, 2 << 20} {
		a := alice.call("POST", "messages", `{"body":"`+strings.Repeat("x", size)+`"}`)
		a.wantProblem(t, 413, "too_large", "")
	}
}

// addresses: a limit per address counts clients, and what they claim to be
// changes nothing.
func (f *front) addresses(t *testing.T) {
	t.Helper()
	from := func(ip string) func(claim int) int {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
		t.Cleanup(client.CloseIdleConnections)
		return func(claim int) int {
			req, err := http.NewRequest("GET", f.url+"/api/v1/ws", nil)
			if err != nil {
				t.Fatal(err)
			}
			forged := fmt.Sprintf("192.0.2.%d", claim)
			for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP"} {
				req.Header.Set(name, forged)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			return res.StatusCode
		}
	}
	one, other := from("127.0.0.2"), from("127.0.0.3")
	refused := 0
	for claim := range 250 {
		if one(claim) == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused < 40 {
		t.Errorf("of 250 requests from one address that claims to be many, %d were refused", refused)
	}
	if status := other(1); status == http.StatusTooManyRequests {
		t.Error("another client is refused too")
	}
}

// repeats: a node breaks connections in the middle of requests. Another one gets
// those that may be repeated, and never a POST: the proxy cannot know.
func (f *front) repeats(t *testing.T, alice person, k string) {
	t.Helper()
	made := 0
	for name, post := range map[string]func() answer{
		"message": func() answer { made++; return alice.send(k, fmt.Sprintf("r-%d", made), "hi") },
		"ticket":  func() answer { return alice.call("POST", "auth/ticket", nil) }, // has no body
	} {
		broken := false
		for i := 0; !broken && i < 10; i++ {
			f.ways[0].Reset()
			for j := 0; !broken && j < 10; j++ {
				a := post()
				if broken = a.status >= 300; broken {
					a.wantProblem(t, 503, "unavailable", "")
				}
			}
			f.heal(t, 0)
		}
		if !broken {
			t.Errorf("of 100 times that a %s was posted none met the node that breaks connections, or it was repeated", name)
		}
	}
	f.ways[0].Reset()
	for range 10 {
		alice.call("GET", "users/me", nil).want(t, 200)
	}
	f.heal(t, 0)
}

// heal ends the fault on the way to a node, and waits until the proxy has
// noticed.
func (f *front) heal(t *testing.T, i int) {
	t.Helper()
	f.ways[i].Restore()
	within(t, "the node to get requests again", func() bool {
		before := f.nodes[i].requests(t)
		person{n: f.node}.get("/api/v1/users/me")
		return f.nodes[i].requests(t) > before
	})
}

// requests counts what a node was asked, but for whether it is ready.
func (n *node) requests(t *testing.T) (all float64) {
	t.Helper()
	for name, v := range n.metrics(t) {
		if strings.HasPrefix(name, "http_requests_total{") && !strings.Contains(name, "/readyz") {
			all += v
		}
	}
	return all
}

// loss: a node goes, with the sockets on it. Everything goes on elsewhere.
func (f *front) loss(t *testing.T, alice, bob person, k string) {
	t.Helper()
	atAlice, _, _ := alice.connect()
	atBob, welcome, _ := bob.connect()
	last := alice.send(k, "l-0", "before").want(t, 201).number("seq")
	victim, at := bob, atBob
	if f.nodes[0].holds(t, alice) {
		victim, at = alice, atAlice
	}
	if !f.nodes[0].holds(t, victim) {
		t.Fatal("the first node has no socket")
	}
	f.ways[0].Refuse()
	for i := 1; i <= 10; i++ {
		alice.call("GET", "users/me", nil).want(t, 200)
		if seq := alice.sendUntil(t, k, fmt.Sprintf("l-%d", i)); seq != last+i {
			t.Errorf("seq %d, want %d", seq, last+i)
		}
	}
	if code := at.closed(); code >= 4400 || code == 1000 {
		t.Errorf("the socket closed with %d", code)
	}
	_, _, missed := victim.connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: last}})
	wantSeqs(t, seqs(t, missed), last+1, last+10)
	f.heal(t, 0)
}

// holds says whether a person's socket is on this node.
func (n *node) holds(t *testing.T, p person) bool {
	t.Helper()
	open := 0
	for _, line := range n.log.lines(t, p.id) {
		switch line["msg"] {
		case "socket live":
			open++
		case "socket closed":
			open--
		}
	}
	return open > 0
}

// sendUntil sends a message, again while it is told to, as clients do; it gives
// the message's place.
func (p person) sendUntil(t *testing.T, k, id string) (seq int) {
	t.Helper()
	within(t, "a message to be stored", func() bool {
		a := p.send(k, id, "text")
		if a.status == 200 || a.status == 201 {
			seq = a.number("seq")
			return true
		}
		if a.status != 503 || a.value("retryable") != true {
			t.Fatalf("%d %s", a.status, a.raw)
		}
		return false
	})
	return seq
}

// drain: a node stops in order under load. No request is lost; a proxy that asks
// whether a node is ready lets no client notice.
func (f *front) drain(t *testing.T, alice person, k string, unnoticed bool) {
	t.Helper()
	log := sentLog{conversation: k}
	ended := make(chan app.Ledger, 1)
	go func() { ended <- f.nodes[1].stop() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	again, sockets, more := 0, 0, 20 // so many after the node has ended
	for i := 0; more > 0; i++ {
		<-tick.C
		id := fmt.Sprintf("d-%d", i)
		within(t, "a message to be stored", func() bool {
			o := alice.try(k, id, "text")
			if o.status == 200 || o.status == 201 {
				return true
			}
			if again++; !o.again {
				t.Fatalf("a message was answered with %+v", o)
			}
			return false
		})
		log.acked = append(log.acked, id)
		alice.call("GET", "users/me", nil).want(t, 200)
		if sockets < 40 && f.nodes[1].metrics(t)["nova_ready"] == 0 { // as many as the limit leaves
			sockets++
			alice.dial() // which must not be refused; it stays open, so that the next one goes to the other node
		}
		if len(ended) > 0 {
			more--
		}
	}
	if l := <-ended; l.Err != nil || l.OutboxLeft != 0 {
		t.Errorf("ledger %+v", l)
	}
	if again > 0 && unnoticed {
		t.Errorf("%d times a client had to repeat", again)
	}
	if t.Logf("%d messages, %d repeats, %d sockets", len(log.acked), again, sockets); sockets == 0 {
		t.Error("no socket was tried while the node drained")
	}
	log.want(t, alice)
}

// nobody: without any node the proxy answers as a node would.
func (f *front) nobody(t *testing.T, alice person) {
	t.Helper()
	f.ways[0].Refuse()
	for _, method := range []string{"GET", "POST"} {
		path := map[string]string{"GET": "users/me", "POST": "messages"}[method]
		var body any
		if method == "POST" {
			body = map[string]any{}
		}
		a := alice.call(method, path, body, "X-Correlation-ID", "test-125")
		a.wantProblem(t, 503, "unavailable", "")
		if a.text("correlation_id") != "test-125" || a.value("retryable") != true {
			t.Errorf("%s", a.raw)
		}
		a = alice.call(method, path, body, "X-Correlation-ID", `no"t one`)
		a.wantProblem(t, 503, "unavailable", "")
		if !identifier.MatchString(a.text("correlation_id")) {
			t.Errorf("%s", a.raw)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if c, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(f.url, "http")+"/api/v1/ws", ws.DialOptions{}); err == nil {
		t.Error("a socket opened to nobody")
		c.Drop()
	}
	f.ways[0].Restore()
	within(t, "the node to be found again", func() bool { return alice.call("GET", "users/me", nil).status == 200 })
}

// TestServicesBehindAProxy: every area of the API reaches the process that owns
// it, and together they are one Nova.
func TestServicesBehindAProxy(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	owners := startOwners(t)
	behind := map[string][]string{}
	ways := map[obs.Service]*servers.Proxy{}
	for s, n := range owners {
		ways[s] = servers.StartProxy(t, strings.TrimPrefix(n.url, "http://"))
		behind[s.String()] = []string{ways[s].Addr}
	}
	for proxy, begin := range proxies {
		t.Run(proxy, func(t *testing.T) {
			n := &node{t: t, url: "http://" + begin(t, "services", behind)}
			alice, bob := n.register("alice-"+proxy), n.register("bob-"+proxy)
			for s, paths := range areas {
				for _, path := range paths {
					alice.reaches(t, owners, s, path)
				}
			}
			k := alice.direct(bob)
			s, _, _ := bob.connect()
			alice.send(k, "c-1", "hi", "X-Correlation-ID", "test-123").want(t, 201)
			if f := s.until("message"); f["cid"] != "test-123" {
				t.Errorf("got %v", f)
			}
			ticket := bob.call("POST", "auth/ticket", nil).want(t, 200).text("ticket")
			browser := person{n: n}.dial()
			browser.write(map[string]any{"op": "hello", "id": "1", "ticket": ticket})
			browser.until("live")
			// One service away is away alone.
			ways[obs.User].Refuse()
			bob.call("GET", "users/me", nil).wantProblem(t, 503, "unavailable", "")
			alice.send(k, "c-2", "hi").want(t, 201)
			browser.until("message")
			ways[obs.User].Restore()
			within(t, "the service to be found again", func() bool { return bob.call("GET", "users/me", nil).status == 200 })
		})
	}
}

// areas are paths of each service, and what every process could answer.
var areas = map[obs.Service][]string{
	obs.Auth: {"/.well-known/jwks.json", "/api/v1/auth/sessions", "/api/v1/auth/nothing"},
	obs.User: {"/api/v1/users/me", "/api/v1/users?q=a", "/api/v1/users/nobody"},
	obs.Messaging: {
		"/api/v1/conversations", "/api/v1/conversations/1/messages", "/api/v1/messages", "/api/v1/messages/1", "/api/v1/ws",
		"/", "/docs", "/errors/unavailable", "/openapi.json", "/healthz", "/api/v1/nothing",
	},
	obs.Notification: {"/api/v1/devices/1", "/api/v1/notifications/settings"},
	obs.Media:        {"/api/v1/media", "/api/v1/media/1"},
}

// startOwners runs each service in a process of its own.
func startOwners(t *testing.T, change ...func(*config.Config)) map[obs.Service]*node {
	t.Helper()
	change = append(change, shared(t, servers.Redis(t)))
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	calls := fmt.Sprintf("127.0.0.1:%d", port)
	owners := map[obs.Service]*node{}
	for _, s := range obs.Services() { // auth is the first, and everybody asks it
		owners[s] = start(t, t.TempDir(), append(slices.Clip(change), func(c *config.Config) {
			c.Services = []obs.Service{s}
			if s == obs.Auth {
				c.ListenGRPC = calls
			} else {
				c.RPC = map[obs.Service][]string{obs.Auth: {calls}}
			}
		})...)
	}
	return owners
}

// reaches asks for a path, and wants the owner and nobody else to be asked.
func (p person) reaches(t *testing.T, owners map[obs.Service]*node, owner obs.Service, path string) {
	t.Helper()
	before := map[obs.Service]float64{}
	for s, n := range owners {
		before[s] = n.requests(t)
	}
	req, err := http.NewRequest("GET", p.n.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.access)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode >= 500 {
		t.Errorf("%s is answered with %d", path, res.StatusCode)
	}
	within(t, fmt.Sprintf("%s to reach %s", path, owner), func() bool { return owners[owner].requests(t) == before[owner]+1 })
	for s, n := range owners {
		if s != owner && n.requests(t) != before[s] {
			t.Errorf("%s reached %s too", path, s)
		}
	}
}
