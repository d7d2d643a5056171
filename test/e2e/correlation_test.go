package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/servers"
)

func TestOneCauseIsFollowedThroughAllHops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	logDir := filepath.Join(dir, "log")
	n := start(t, filepath.Join(dir, "data"), func(c *config.Config) { c.LogDir = logDir })
	reg := person{n: n}.call("POST", "auth/register", map[string]any{"username": "alice", "password": phrase}, "X-Correlation-ID", "reg-1").want(t, 201)
	if got := reg.header.Get("X-Correlation-ID"); got != "reg-1" {
		t.Errorf("the answer carries %q", got)
	}
	alice, bob := n.person(reg), n.register("bob")
	// At once, without waiting for the event that makes the profile.
	k := bob.direct(alice)
	s, _, _ := bob.connect()
	alice.send(k, "c-1", "hi", "X-Correlation-ID", "test-123").want(t, 201)
	if f := s.until("message"); f["cid"] != "test-123" {
		t.Errorf("the recipient's frame carries %v", f["cid"])
	}
	person{n: n}.call("GET", "messages", nil, "X-Correlation-ID", "anon-7").want(t, 401)
	within(t, "the event's line", func() bool { // over Kafka it takes its time
		b, err := os.ReadFile(filepath.Join(logDir, "user.log"))
		return err == nil && strings.Contains(string(b), `"correlation_id":"reg-1"`)
	})
	n.stop()
	for file, ids := range map[string][]string{"messaging.log": {"test-123", "anon-7"}, "auth.log": {"reg-1"}, "user.log": {"reg-1"}} {
		b, err := os.ReadFile(filepath.Join(logDir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if !strings.Contains(string(b), `"correlation_id":"`+id+`"`) {
				t.Errorf("%s does not hold %s:\n%s", file, id, b)
			}
		}
	}
	wantNoWords(t, logDir)
}

var madeHere = regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}`)

// wantNoWords is the audit's literal search of the log folder.
func wantNoWords(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text := madeHere.ReplaceAllString(string(b), "ID") // upper case, and may spell anything
		for line := range strings.Lines(strings.ToLower(text)) {
			for _, word := range []string{"password", "secret", "token", "key", "credential"} {
				if strings.Contains(line, word) {
					t.Errorf("%s: %q is in %s", f.Name(), word, line)
				}
			}
		}
	}
}

func TestManyCausesNeverMix(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	s, _, _ := bob.connect()
	const all = 300
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			id := fmt.Sprintf("mix-%d", i)
			if got := alice.send(k, id, id, "X-Correlation-ID", id); got.status != 201 || got.header.Get("X-Correlation-ID") != id {
				t.Errorf("%d %v: %s", got.status, got.header.Get("X-Correlation-ID"), got.raw)
			}
		})
	}
	for range all {
		f := s.until("message")
		if body := f["message"].(map[string]any)["body"]; f["cid"] != body {
			t.Errorf("the message of %v carries %v", body, f["cid"])
		}
	}
	wg.Wait()
}

// declaredHops is everything that carries the correlation ID of a registration,
// a conversation with the new account, a message over REST and one over a
// socket, between services in processes of their own.
var declaredHops = []string{
	"answer to auth/register",
	"answer to conversations",
	"answer to messages",
	"frame conversation to the laptop",
	"frame conversation to the phone",
	"frame message to the laptop",
	"frame message to the phone",
	"frame sent",
	"kafka conversation.created",
	"kafka message.sent",
	"kafka user.registered",
	"log of auth: call answered auth.Accounts", // by metadata of gRPC
	"log of auth: request auth.register",
	"log of messaging: message committed messaging.send",
	"log of messaging: message handed to sockets messaging.deliver",
	"log of messaging: request messaging.create",
	"log of messaging: request messaging.send",
	"log of user: event handled user.registered",
	"log of user: profile made user.registered",
	"redis conversation.created",
	"redis message.sent",
	"row of the messages",
	"row of the outbox of auth",
	"row of the outbox of messaging",
}

// hops is where an ID was seen.
type hops map[string]bool

// logs adds the lines that carry the ID.
func (h hops) logs(t *testing.T, n *node, cause string) {
	t.Helper()
	for _, l := range n.log.lines(t, cause) {
		what := l["op"]
		if what == nil {
			what = l["type"]
		}
		if l["correlation_id"] == cause {
			h[fmt.Sprintf("log of %v: %v %v", l["service"], l["msg"], what)] = true
		}
	}
}

// carried adds what lies in Kafka, in Redis and in the databases.
func (h hops) carried(t *testing.T, n *node, b *books, cause string) {
	t.Helper()
	for _, r := range n.records(t) {
		if r.Headers["x-correlation-id"] == cause {
			h["kafka "+r.Headers["type"]] = true
		}
	}
	for _, e := range n.entries(t) {
		if e["correlation_id"] == cause {
			h["redis "+e["type"]] = true
		}
	}
	for hop, q := range map[string]struct {
		s     obs.Service
		query string
	}{
		"row of the outbox of auth":      {obs.Auth, "SELECT COUNT(*) FROM outbox WHERE correlation_id = $1"},
		"row of the outbox of messaging": {obs.Messaging, "SELECT COUNT(*) FROM outbox WHERE correlation_id = $1"},
		"row of the outbox of user":      {obs.User, "SELECT COUNT(*) FROM outbox WHERE correlation_id = $1"},
		"row of the messages":            {obs.Messaging, "SELECT COUNT(*) FROM messages WHERE correlation_id = $1"},
	} {
		if b.read(q.s, q.query, cause) > 0 {
			h[hop] = true
		}
	}
}

// records are those of all topics of the deployment, as they lie in Kafka.
func (n *node) records(t *testing.T) (all []servers.KafkaRecord) {
	t.Helper()
	k := servers.KafkaServer{Brokers: n.cfg.Kafka}
	end, err := k.End(t.Context(), n.cfg.Prefix+".accounts", n.cfg.Prefix+".messaging", n.cfg.Prefix+".other")
	if err == nil {
		err = k.Records(t.Context(), nil, end, func(r servers.KafkaRecord) { all = append(all, r) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// entries are those of the stream between the messaging nodes.
func (n *node) entries(t *testing.T) []map[string]string {
	t.Helper()
	return servers.Entries(t, n.cfg.Redis.Reveal(), n.cfg.Prefix+":fanout")
}

// TestTheHopsOfOneCause compares where an ID is seen with what is declared:
// neither may it be lost on the way, nor turn up where nobody expects it.
func TestTheHopsOfOneCause(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	n := services.start(t, t.TempDir(), app.Options{})
	const cause = "test-123"
	seen := hops{}
	answered := func(path string, a answer) answer {
		t.Helper()
		if a.want(t, 201); a.header.Get("X-Correlation-ID") == cause {
			seen["answer to "+path] = true
		}
		return a
	}
	bob := n.register("bob")
	laptop, _, _ := bob.connect()
	phone, _, _ := n.login("bob", "phone").connect() // on the other node
	alice := n.person(answered("auth/register", person{n: n}.call("POST", "auth/register", map[string]any{"username": "alice", "password": phrase}, "X-Correlation-ID", cause)))
	within(t, "alice's profile, by event", func() bool { return len(n.log.lines(t, "event handled")) > 1 })
	own, _, _ := alice.connect()
	k := answered("conversations", alice.call("POST", "conversations", map[string]any{"kind": "direct", "member_ids": []string{bob.id}}, "X-Correlation-ID", cause)).text("id")
	answered("messages", alice.send(k, "c-1", "over REST", "X-Correlation-ID", cause))
	own.write(map[string]any{"op": "send", "id": "1", "cid": cause, "conversation_id": k, "client_msg_id": "c-2", "body": "over the socket"})
	if own.until("sent")["cid"] == cause {
		seen["frame sent"] = true
	}
	for device, s := range map[string]*socket{"laptop": laptop, "phone": phone} {
		for _, op := range []string{"conversation", "message", "message"} {
			if f := s.until(op); f["cid"] == cause {
				seen["frame "+op+" to the "+device] = true
			} else {
				t.Errorf("the %s got %v", device, f)
			}
		}
	}
	b := n.books(t)
	comes(func() bool { // what does not come shows below
		seen.logs(t, n, cause)
		seen.carried(t, n, b, cause)
		return len(seen) >= len(declaredHops)
	})
	if diff := cmp.Diff(declaredHops, slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("the hops differ (-declared +seen):\n%s", diff)
	}
}

// crowd is a thousand sends at a time, each under an ID of its own, which is
// the message's text and identifier too.
type crowd struct {
	t            *testing.T
	n            *node
	conversation string
	people       []person
	readers      []*socket

	mu  sync.Mutex        // guards what follows
	seq map[string]string // IDs by sequence number, as their senders were told
}

const (
	restLanes, restEach     = 25, 20
	socketLanes, socketEach = 10, 50
	wholeCrowd              = restLanes*restEach + socketLanes*socketEach
)

func (c *crowd) told(cause string, seq any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq[fmt.Sprint(seq)] = cause
}

// rest sends one after the other and judges the answers.
func (c *crowd) rest(lane int) {
	for i := range restEach {
		id := fmt.Sprintf("mix-r-%d-%d", lane, i)
		a := c.people[lane%len(c.people)].send(c.conversation, id, id, "X-Correlation-ID", id)
		for tries := 0; a.status == 503 && tries < 20; tries++ { // a busy machine: repeated, as clients do
			a = c.people[lane%len(c.people)].send(c.conversation, id, id, "X-Correlation-ID", id)
		}
		if a.status != 201 && a.status != 200 || a.header.Get("X-Correlation-ID") != id {
			c.t.Errorf("%s: %d under %s: %s", id, a.status, a.header.Get("X-Correlation-ID"), a.raw)
		}
		c.told(id, a.number("seq"))
	}
}

// socket sends all at once and judges the answers.
func (c *crowd) socket(lane int, s *socket) {
	for i := range socketEach {
		id := fmt.Sprintf("mix-s-%d-%d", lane, i)
		s.write(map[string]any{"op": "send", "id": id, "cid": id, "conversation_id": c.conversation, "client_msg_id": id, "body": id})
	}
	for range socketEach {
		f := s.until("sent")
		if f["id"] != f["cid"] {
			c.t.Errorf("the answer to %v carries %v", f["id"], f["cid"])
		}
		c.told(fmt.Sprint(f["id"]), f["seq"])
	}
}

// wantFrames judges what the readers get.
func (c *crowd) wantFrames() {
	for _, s := range c.readers {
		for range wholeCrowd {
			f := s.until("message")
			if body := f["message"].(map[string]any)["body"]; f["cid"] != body {
				c.t.Errorf("the message of %v carries %v", body, f["cid"])
			}
		}
	}
}

// wantCarried judges the records and entries: of each ID at least one.
func (c *crowd) wantCarried(what string, pairs map[string]string) {
	c.t.Helper()
	for text, cause := range pairs {
		if text != cause {
			c.t.Errorf("%s: the message of %s carries %s", what, text, cause)
		}
	}
	if len(pairs) != wholeCrowd {
		c.t.Errorf("%s: %d messages of %d", what, len(pairs), wholeCrowd)
	}
}

// wantLines judges every line that names a message: under the ID that it was
// sent with.
func (c *crowd) wantLines() {
	judged := 0
	for _, l := range c.n.log.lines(c.t, `"seq":`) {
		if want := c.seq[fmt.Sprint(l["seq"])]; l["conversation_id"] == c.conversation {
			if judged++; l["correlation_id"] != want {
				c.t.Errorf("the line of %s: %v", want, l)
			}
		}
	}
	if judged == 0 {
		c.t.Error("no line was judged")
	}
}

func textOf(payload string) string {
	var m struct{ Body string }
	if json.Unmarshal([]byte(payload), &m) != nil {
		return payload
	}
	return m.Body
}

// TestAThousandCausesNeverMix: answers, frames, events, what nodes tell each
// other, and log lines each carry the ID of their own cause.
func TestAThousandCausesNeverMix(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	n := services.start(t, t.TempDir(), app.Options{}, func(c *config.Config) {
		c.Limits.MessagesPerConversation.Count, c.Limits.MessagesPerConversation.Burst = 100_000, 100_000
	})
	c := &crowd{t: t, n: n, people: n.seed(t, "many", socketLanes, time.Hour), seq: map[string]string{}}
	readers := n.seed(t, "reader", 2, time.Hour)
	var members []string
	for _, p := range append(c.people[1:], readers...) {
		members = append(members, p.id)
	}
	c.conversation = c.people[0].call("POST", "conversations", map[string]any{"kind": "group", "name": "Crowd", "member_ids": members}).want(t, 201).text("id")
	for _, p := range readers { // on either node
		s, _, _ := p.connect()
		c.readers = append(c.readers, s)
	}
	var all sync.WaitGroup
	for lane := range socketLanes {
		s, _, _ := c.people[lane].connect()
		all.Go(func() { c.socket(lane, s) })
	}
	for lane := range restLanes {
		all.Go(func() { c.rest(lane) })
	}
	c.wantFrames()
	all.Wait()
	c.wantLines()
	entries := map[string]string{}
	for _, e := range n.entries(t) {
		if e["type"] == "message.sent" {
			entries[textOf(e["payload"])] = e["correlation_id"]
		}
	}
	c.wantCarried("redis", entries)
	records := map[string]string{}
	within(t, "the events of all messages", func() bool {
		for _, r := range n.records(t) {
			if r.Headers["type"] == "message.sent" {
				records[textOf(string(r.Value))] = r.Headers["x-correlation-id"]
			}
		}
		return len(records) >= wholeCrowd
	})
	c.wantCarried("kafka", records)
}
