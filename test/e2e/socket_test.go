package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/config"
)

func TestTicketLetsABrowserIn(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice := n.register("alice")
	got := alice.call("POST", "auth/ticket", nil).want(t, 200)
	if got.number("expires_in") != 30 || !strings.Contains(got.text("ticket"), "~") {
		t.Errorf("ticket: %s", got.raw)
	}
	hello := map[string]any{"op": "hello", "id": "1", "ticket": got.text("ticket")}
	s := person{n: n}.dial()
	s.write(hello)
	if w := s.read(); w["op"] != "welcome" || w["user_id"] != alice.id || w["session_id"] != alice.session {
		t.Errorf("got %v", w)
	}
	used := person{n: n}.dial()
	used.write(hello)
	if code := used.closed(); code != 4401 {
		t.Errorf("a used ticket closes with %d, want 4401", code)
	}
}

func TestWhoIsNotAuthenticatedIsClosed(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	for name, p := range map[string]person{"nobody": {n: n}, "garbage": {n: n, access: "garbage"}} {
		s := p.dial()
		s.write(`{"op":"hello","id":"1"}`)
		if f := s.read(); f["op"] != "error" || f["code"] != "unauthenticated" {
			t.Errorf("%s: got %v", name, f)
		}
		if code := s.closed(); code != 4401 {
			t.Errorf("%s: closed with %d, want 4401", name, code)
		}
	}
	silent := person{n: n}.dial()
	if code := silent.closed(); code != 4408 {
		t.Errorf("no hello closes with %d, want 4408", code)
	}
	early := n.register("alice").dial()
	early.write(`{"op":"ping","id":"1"}`)
	if code := early.closed(); code != 4401 {
		t.Errorf("a frame before hello closes with %d, want 4401", code)
	}
	twice, _, _ := n.register("bob").connect()
	twice.write(`{"op":"hello","id":"2"}`)
	if code := twice.closed(); code != 4400 {
		t.Errorf("hello twice closes with %d, want 4400", code)
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice := n.register("alice")
	first, _, _ := alice.connect()
	second, _, _ := alice.connect()
	if code := first.closed(); code != 4409 {
		t.Errorf("a second socket of the session closes the first with %d, want 4409", code)
	}
	again := n.login("alice", "laptop")
	if code := second.closed(); code != 4410 {
		t.Errorf("a new login on the device closes with %d, want 4410", code)
	}
	alice.wantOut(t)
	third, _, _ := again.connect()
	again.call("POST", "auth/logout", nil).want(t, 204)
	if code := third.closed(); code != 4410 {
		t.Errorf("logout closes with %d, want 4410", code)
	}
	again.wantOut(t)
	s := again.dial()
	s.write(`{"op":"hello","id":"1"}`)
	if code := s.closed(); code != 4410 {
		t.Errorf("a revoked session closes with %d, want 4410", code)
	}
}

func TestBadFrames(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob, eve := n.register("alice"), n.register("bob"), n.register("eve")
	k := alice.direct(bob)
	alice.send(k, "c-1", "text").want(t, 201)
	send := func(more string) string {
		return `{"op":"send","id":"7","conversation_id":"` + k + `","client_msg_id":"x-1","body":"b"` + more + `}`
	}
	for _, c := range []struct{ name, frame, code string }{
		{"unknown op", `{"op":"dance","id":"7"}`, "unknown_op"},
		{"no op", `{"id":"7"}`, "unknown_op"},
		{"unknown field", send(`,"role":"admin"`), "unknown_field"},
		{"a field of the server's", send(`,"seq":5`), "unknown_field"},
		{"a field twice", send(`,"body":"c"`), "bad_frame"},
		{"other case", `{"op":"send","id":"7","Conversation_ID":"` + k + `"}`, "unknown_field"},
		{"wrong type", `{"op":"send","id":"7","conversation_id":5}`, "bad_frame"},
		{"missing body", `{"op":"send","id":"7","conversation_id":"` + k + `","client_msg_id":"x"}`, "invalid"},
		{"missing client_msg_id", `{"op":"send","id":"7","conversation_id":"` + k + `","body":"b"}`, "invalid"},
		{"client_msg_id with a space", `{"op":"send","id":"7","conversation_id":"` + k + `","client_msg_id":"a b","body":"b"}`, "invalid"},
		{"client_msg_id too long", `{"op":"send","id":"7","conversation_id":"` + k + `","client_msg_id":"` + strings.Repeat("x", 65) + `","body":"b"}`, "too_long"},
		{"body too long", `{"op":"send","id":"7","conversation_id":"` + k + `","client_msg_id":"x","body":"` + strings.Repeat("x", 16385) + `"}`, "too_long"},
		{"NUL", `{"op":"send","id":"7","conversation_id":"` + k + `","client_msg_id":"x","body":"a\u0000b"}`, "bad_request"},
		{"malformed conversation", `{"op":"send","id":"7","conversation_id":"../../etc","client_msg_id":"x","body":"b"}`, "bad_id"},
		{"unknown conversation", `{"op":"send","id":"7","conversation_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","client_msg_id":"x","body":"b"}`, "not_found"},
		{"another body", `{"op":"send","id":"7","conversation_id":"` + k + `","client_msg_id":"c-1","body":"other"}`, "idempotency_conflict"},
		{"ack from the future", `{"op":"ack","id":"7","conversation_id":"` + k + `","seq":9}`, "invalid"},
		{"ack beyond 2^53", `{"op":"ack","id":"7","conversation_id":"` + k + `","seq":9007199254740993}`, "invalid"},
		{"ack beyond 2^63", `{"op":"ack","id":"7","conversation_id":"` + k + `","seq":9223372036854775808}`, "bad_frame"},
		{"ack of a fraction", `{"op":"ack","id":"7","conversation_id":"` + k + `","seq":1.5}`, "bad_frame"},
		{"ack below zero", `{"op":"ack","id":"7","conversation_id":"` + k + `","seq":-1}`, "invalid"},
		{"ack without seq", `{"op":"ack","id":"7","conversation_id":"` + k + `"}`, "invalid"},
		{"read from the future", `{"op":"read","id":"7","conversation_id":"` + k + `","seq":9}`, "invalid"},
		{"typing without on", `{"op":"typing","id":"7","conversation_id":"` + k + `"}`, "invalid"},
		{"id too long", `{"op":"ping","id":"` + strings.Repeat("7", 65) + `"}`, "too_long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, _ := alice.connect()
			s.t = t
			s.write(c.frame)
			f := s.read()
			if f["op"] != "error" || f["code"] != c.code {
				t.Fatalf("got %v, want code %s", f, c.code)
			}
			if want := "7"; c.name != "id too long" && f["id"] != want {
				t.Errorf("id %v, want %s", f["id"], want)
			}
			if f["correlation_id"] == "" || f["message"] == "" {
				t.Errorf("the error says too little: %v", f)
			}
			s.write(`{"op":"ping","id":"8"}`)
			if p := s.until("pong"); p["id"] != "8" {
				t.Errorf("the socket should stay, got %v", p)
			}
		})
	}
	t.Run("a stranger's conversation", func(t *testing.T) {
		s, _, _ := eve.connect()
		for _, frame := range []string{
			send(""), `{"op":"ack","id":"7","conversation_id":"` + k + `","seq":1}`, `{"op":"read","id":"7","conversation_id":"` + k + `","seq":1}`,
			`{"op":"typing","id":"7","conversation_id":"` + k + `","on":true}`,
		} {
			s.write(frame)
			if f := s.read(); f["code"] != "not_found" {
				t.Errorf("%s: got %v", frame, f)
			}
		}
	})
	if got := alice.call("GET", "conversations/"+k+"/messages", nil).want(t, 200); len(got.value("items").([]any)) != 1 {
		t.Errorf("a refused frame left something behind: %s", got.raw)
	}
}

func TestWhatIsNoObjectClosesTheSocket(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice := n.register("alice")
	for _, frame := range []string{``, `x`, `[]`, `null`, `"op"`, `{"op":"ping"`, `{"op":"ping"} {}`, `{"op":NaN}`, strings.Repeat("[", 10000)} {
		s, _, _ := alice.connect()
		s.write(frame)
		if code := s.closed(); code != 4400 {
			t.Errorf("%.20q closes with %d, want 4400", frame, code)
		}
	}
}

func TestTenWrongFramesCloseTheSocket(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	s, _, _ := n.register("alice").connect()
	for i := range 9 {
		s.write(fmt.Sprintf(`{"op":"dance","id":"%d"}`, i))
		s.until("error")
	}
	s.write(`{"op":"ping","id":"p"}`)
	s.until("pong")
	s.write(`{"op":"dance","id":"10"}`)
	if code := s.closed(); code != 4400 {
		t.Errorf("closed with %d, want 4400", code)
	}
}

func TestLimitsAreKept(t *testing.T) {
	t.Parallel()
	few := func(c *config.Config) {
		c.Limits.MessagesPerUser.Count, c.Limits.MessagesPerUser.Burst = 1, 2
		c.Limits.SocketsPerUser = 2
	}
	n := start(t, t.TempDir(), few).pinned()
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	s, welcome, _ := alice.connect()
	if l := welcome["limits"].(map[string]any); l["sockets_per_user"] != 2.0 {
		t.Errorf("welcome tells %v", l)
	}
	for i := range 3 {
		s.write(fmt.Sprintf(`{"op":"send","id":"%d","conversation_id":"%s","client_msg_id":"m-%d","body":"b"}`, i, k, i))
	}
	var f map[string]any
	for range 3 {
		if got := s.read(); got["op"] == "error" {
			f = got
		}
	}
	if f["code"] != "rate_limited" || f["retryable"] != true || f["retry_after_ms"] == nil {
		t.Errorf("got %v", f)
	}
	res := alice.send(k, "m-9", "b")
	if res.status != http.StatusTooManyRequests || res.header.Get("Retry-After") == "" {
		t.Errorf("over REST: %d %v %s", res.status, res.header, res.raw)
	}
	n.login("alice", "d2").connect()
	third := n.login("alice", "d3").dial()
	third.write(`{"op":"hello","id":"1"}`)
	if code := third.closed(); code != 4029 {
		t.Errorf("a socket too many closes with %d, want 4029", code)
	}
}

func TestTypingReadAndOtherDevices(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	phone := n.login("alice", "phone")
	sa, _, _ := alice.connect()
	sp, _, _ := phone.connect()
	sb, _, _ := bob.connect()
	k := alice.direct(bob)
	for _, s := range []*socket{sa, sp, sb} {
		if f := s.read(); f["op"] != "conversation" || f["event"] != "created" || f["conversation"].(map[string]any)["id"] != k {
			t.Errorf("a new conversation is told as %v", f)
		}
	}
	sb.write(`{"op":"typing","conversation_id":"` + k + `","on":true}`)
	if f := sa.read(); f["op"] != "typing" || f["user_id"] != bob.id || f["on"] != true {
		t.Errorf("got %v", f)
	}
	sp.until("typing")
	sa.write(`{"op":"send","id":"1","conversation_id":"` + k + `","client_msg_id":"c-1","body":"hi"}`)
	if f := sa.read(); f["op"] != "sent" {
		t.Errorf("the socket that sent gets %v", f)
	}
	if f := sp.read(); f["op"] != "message" {
		t.Errorf("my other device gets %v", f)
	}
	sb.until("message")
	sb.write(`{"op":"read","id":"2","conversation_id":"` + k + `","seq":1}`)
	sb.until("ok")
	if f := sa.until("receipt"); f["kind"] != "read" || f["user_id"] != bob.id || f["seq"] != 1.0 {
		t.Errorf("got %v", f)
	}
	list := bob.call("GET", "conversations", nil).want(t, 200)
	c := list.value("items").([]any)[0].(map[string]any)
	if c["read_seq"] != 1.0 || c["unread"] != 0.0 || c["last_message"].(map[string]any)["body"] != "hi" {
		t.Errorf("the list shows %v", c)
	}
	bob.call("PUT", "conversations/"+k+"/read", map[string]any{"seq": 0}).want(t, 204)
	if got := bob.call("GET", "conversations/"+k, nil).want(t, 200); got.number("read_seq") != 1 {
		t.Errorf("a read mark went back: %s", got.raw)
	}
}

func TestGroup(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob, carol := n.register("alice"), n.register("bob"), n.register("carol")
	body := map[string]any{"kind": "group", "name": "Team", "member_ids": []string{bob.id, carol.id}}
	made := alice.call("POST", "conversations", body, "Idempotency-Key", "k-1").want(t, 201)
	again := alice.call("POST", "conversations", body, "Idempotency-Key", "k-1").want(t, 200)
	if made.text("id") != again.text("id") {
		t.Error("the same request made two groups")
	}
	body["name"] = "Other"
	if c := alice.call("POST", "conversations", body, "Idempotency-Key", "k-1").want(t, 409).text("code"); c != "idempotency_conflict" {
		t.Errorf("another request under the same identifier: %s", c)
	}
	owner := ""
	for _, m := range made.value("members").([]any) {
		if mm := m.(map[string]any); mm["role"] == "owner" {
			owner = mm["user_id"].(string)
		}
	}
	if owner != alice.id || made.text("name") != "Team" {
		t.Errorf("group: %s", made.raw)
	}
	sb, _, _ := bob.connect()
	sc, _, _ := carol.connect()
	alice.send(made.text("id"), "c-1", "hi all").want(t, 201)
	for _, s := range []*socket{sb, sc} {
		if f := s.until("message"); f["message"].(map[string]any)["body"] != "hi all" {
			t.Errorf("got %v", f)
		}
	}
}
