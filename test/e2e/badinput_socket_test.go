package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/config"
)

// socketRow is a row of section 4.4 of the design's table of bad input.
type socketRow struct {
	input string
	why   string // it does not apply, or is judged elsewhere
	makes bool   // accounts of its own
	run   func(t *testing.T, s *scene)
}

var socketRows = []socketRow{
	{input: "upgrade", run: badUpgrades},
	{input: "origin", run: foreignOrigins},
	{input: "proof of identity in the address", run: proofsInTheAddress},
	{input: "no hello, hello twice, revoked session, second socket", why: "TestWhoIsNotAuthenticatedIsClosed, TestSessionsEnd and TestEveryEndOfASocketIsCountedOnce"},
	{input: "MFA pending", why: "there is no second factor yet"},
	{input: "expired proof", run: expiredProofs},
	{input: "frames against RFC 6455", why: "TestEveryEndOfASocketIsCountedOnce; the 120 cases are in internal/ws"},
	{input: "message too big, too many fragments, compressed", why: "TestEveryEndOfASocketIsCountedOnce"},
	{input: "binary, invalid JSON, wrong content", run: wrongFrames},
	{input: "what is not there or not mine", run: foreignFrames},
	{input: "floods", why: "TestAFloodEndsOneSocketAlone"},
	{input: "half-open, slow, silent", why: "TestEveryEndOfASocketIsCountedOnce and TestSlowClientsAreCutOff"},
	{input: "kicked, banned, deleted, role down, tenant suspended", why: "members cannot leave a conversation yet; revoked sessions are in TestSessionsEnd"},
	{input: "expiry in mid-stream", makes: true, run: expiryInMidStream},
	{input: "stop while a frame is half sent", why: "TestAHalfSentFrameIsNoFrame"},
}

func TestBadInputOverTheSocket(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, row := range socketRows {
		t.Run(row.input, func(t *testing.T) {
			if row.why != "" {
				t.Skip(row.why)
			}
			before := s.books.sum()
			row.run(t, s)
			if !row.makes {
				s.books.wantSame(t, before)
			}
		})
	}
	s.n.wantSound(t, s.alice)
	if log := s.n.log.String(); strings.Contains(log, canary) {
		t.Error("the log holds what a client sent")
	}
	q := s.alice.live(t)
	q.send(textFrame(s.words.Replace(`{"op":"send","id":"9","conversation_id":"{k}","client_msg_id":"good","body":"good"}`)))
	q.until("sent")
}

// badUpgrades: none of them opens a socket, all get a problem document.
func badUpgrades(t *testing.T, s *scene) {
	before := s.n.metrics(t)
	auth := "Authorization: Bearer " + s.alice.access + "\r\n"
	for _, c := range []struct {
		name, line, headers string
		status              int
		code                string
	}{
		{"no nonce", "", upgradeLines + versionLine + protocolLine, 400, "bad_request"},
		{"bad nonce", "", upgradeLines + versionLine + protocolLine + "Sec-WebSocket-Key: " + canary + "\r\n", 400, "bad_request"},
		{"version 8", "", upgradeLines + nonceLine + protocolLine + "Sec-WebSocket-Version: 8\r\n", 426, "upgrade_required"},
		{"version 14", "", upgradeLines + nonceLine + protocolLine + "Sec-WebSocket-Version: 14\r\n", 426, "upgrade_required"},
		{"no version", "", upgradeLines + nonceLine + protocolLine, 426, "upgrade_required"},
		{"no Upgrade", "", versionLine + nonceLine + protocolLine, 400, "bad_request"},
		{"h2c", "", "Upgrade: h2c\r\nConnection: Upgrade\r\n" + versionLine + nonceLine + protocolLine, 400, "bad_request"},
		{"no subprotocol", "", upgradeLines + versionLine + nonceLine, 400, "bad_subprotocol"},
		{"another subprotocol", "", upgradeLines + versionLine + nonceLine + "Sec-WebSocket-Protocol: nova.v9, " + canary + "\r\n", 400, "bad_subprotocol"},
		{"POST", "POST /api/v1/ws HTTP/1.1", goodUpgrade + "Content-Length: 0\r\n", 405, "method_not_allowed"},
		{"HTTP/1.0", "GET /api/v1/ws HTTP/1.0", goodUpgrade, 400, "bad_request"},
		{"a body", "", goodUpgrade + "Content-Length: 2\r\n", 400, "bad_request"},
	} {
		line := c.line
		if line == "" {
			line = "GET /api/v1/ws HTTP/1.1"
		}
		if !strings.Contains(c.headers, "Connection:") {
			c.headers += "Connection: close\r\n"
		}
		q := &peer{t, s.n.dialTCP(t), nil}
		q.send(line + "\r\nHost: x\r\n" + auth + c.headers + "\r\n")
		a := readAnswer(t, q.c)
		a.wantProblem(t, c.status, c.code, "")
		if v := a.header.Get("Sec-WebSocket-Version"); (v == "13") != (c.status == 426) {
			t.Errorf("%s: Sec-WebSocket-Version is %q", c.name, v)
		}
	}
	if got := s.n.added(t, before, "ws_closes_total", "ws_frames_total"); len(got) != 0 {
		t.Errorf("a refused upgrade made a socket: %v", got)
	}
}

// foreignOrigins: pages of others may not connect; our own, in every spelling of
// loopback, and what is no page may.
func foreignOrigins(t *testing.T, s *scene) {
	_, port, _ := strings.Cut(strings.TrimPrefix(s.n.url, "http://"), ":")
	for _, origin := range []string{
		"https://evil.example", "null", "", s.n.url + ".evil.example", "http://evil-127.0.0.1:" + port, strings.Replace(s.n.url, "http", "https", 1),
		"http://127.0.0.1", "http://127.0.0.1:1", "HTTP://127.0.0.1:" + port, "http://LOCALHOST:" + port, s.n.url + "/", "file://", s.n.url + " ",
	} {
		if origin == s.n.url+" " {
			continue // net/http takes the space away
		}
		q := &peer{t, s.n.dialTCP(t), nil}
		q.send("GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n" + goodUpgrade + "Origin: " + origin + "\r\n\r\n")
		if a := readAnswer(t, q.c); a.status != 403 {
			t.Errorf("Origin %q: %d %s", origin, a.status, a.raw)
		} else {
			a.wantProblem(t, 403, "forbidden", "")
		}
	}
	two := &peer{t, s.n.dialTCP(t), nil}
	two.send("GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n" + goodUpgrade + strings.Repeat("Origin: "+s.n.url+"\r\n", 2) + "\r\n")
	readAnswer(t, two.c).wantProblem(t, 403, "forbidden", "")
	for _, origin := range []string{s.n.url, "http://localhost:" + port, "http://[::1]:" + port} {
		s.alice.peer(t, "Origin: "+origin+"\r\n")
	}
	s.alice.peer(t, "")
}

func proofsInTheAddress(t *testing.T, s *scene) {
	for _, name := range []string{"token", "access_token", "ticket", "TOKEN", "%74oken", "jwt"} {
		q := &peer{t, s.n.dialTCP(t), nil}
		q.send("GET /api/v1/ws?x=1&" + name + "=" + canary + " HTTP/1.1\r\nHost: x\r\n" + goodUpgrade + "\r\n")
		readAnswer(t, q.c).wantProblem(t, 400, "token_in_url", "")
	}
}

func expiredProofs(t *testing.T, s *scene) {
	q := person{n: s.n, access: s.expired(t)}.peer(t, "")
	q.send(textFrame(`{"op":"hello","id":"1"}`))
	if f := q.until("error"); !strings.Contains(f, `"code":"unauthenticated"`) {
		t.Errorf("got %s", f)
	}
	if code := q.closed(); code != 4401 {
		t.Errorf("closed with %d, want 4401", code)
	}
	for _, ticket := range []string{canary, "t~" + canary, s.alice.refresh, s.alice.access} {
		q := person{n: s.n}.peer(t, "")
		q.send(textFrame(`{"op":"hello","id":"1","ticket":"` + ticket + `"}`))
		if code := q.closed(); code != 4401 {
			t.Errorf("%.12s for a ticket closes with %d, want 4401", ticket, code)
		}
	}
}

// frameRow is a frame with wrong content: an error with its id comes back, the
// socket stays.
type frameRow struct{ name, frame, code string }

var frameRows = []frameRow{
	{"presence, which is not built yet", `{"op":"presence","id":"7","status":"away"}`, "unknown_op"},
	{"op of the server's", `{"op":"message","id":"7"}`, "unknown_op"},
	{"op in another case", `{"op":"SEND","id":"7"}`, "unknown_op"},
	{"op is a number", `{"op":5,"id":"7"}`, "bad_frame"},
	{"op is null", `{"op":null,"id":"7"}`, "unknown_op"},
	{"body is a number", `{"op":"send","id":"7","conversation_id":"{k}","client_msg_id":"x","body":5}`, "bad_frame"},
	{"body is null", `{"op":"send","id":"7","conversation_id":"{k}","client_msg_id":"x","body":null}`, "invalid"},
	{"sender_id", `{"op":"send","id":"7","conversation_id":"{k}","client_msg_id":"x","body":"b","sender_id":"{bob}"}`, "unknown_field"},
	{"created_at", `{"op":"send","id":"7","conversation_id":"{k}","client_msg_id":"x","body":"b","created_at":"` + canary + `"}`, "unknown_field"},
	{"a field with a name of spaces", `{"op":"ping","id":"7","` + canary + ` x":1}`, "unknown_field"},
	{"a deep field", `{"op":"ping","id":"7","x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`, "unknown_field"},
	{"the same field twice", `{"op":"ping","id":"7","cid":"a","cid":"b"}`, "bad_frame"},
	{"16 KiB and 1", `{"op":"send","id":"7","conversation_id":"{k}","client_msg_id":"x","body":"` + strings.Repeat("x", 16<<10+1) + `"}`, "too_long"},
	{"a user for a conversation", `{"op":"send","id":"7","conversation_id":"{bob}","client_msg_id":"x","body":"b"}`, "not_found"},
	{"a message for a conversation", `{"op":"typing","id":"7","conversation_id":"{m}","on":true}`, "not_found"},
	{"a path for a conversation", `{"op":"read","id":"7","conversation_id":"../../` + canary + `","seq":1}`, "bad_id"},
	{"on is text", `{"op":"typing","id":"7","conversation_id":"{k}","on":"yes"}`, "bad_frame"},
	{"seq is text", `{"op":"read","id":"7","conversation_id":"{k}","seq":"1"}`, "bad_frame"},
	{"seq of 2^53+1", `{"op":"read","id":"7","conversation_id":"{k}","seq":9007199254740993}`, "invalid"},
	{"seq of 2^63", `{"op":"read","id":"7","conversation_id":"{k}","seq":9223372036854775808}`, "bad_frame"},
	{"seq of 1e400", `{"op":"ack","id":"7","conversation_id":"{k}","seq":1e400}`, "bad_frame"},
	{"seq below zero", `{"op":"read","id":"7","conversation_id":"{k}","seq":-1}`, "invalid"},
}

// wrongFrames: an error with the same id, and the socket goes on.
func wrongFrames(t *testing.T, s *scene) {
	for _, c := range frameRows {
		t.Run(c.name, func(t *testing.T) {
			before := s.n.metrics(t)
			q := s.alice.live(t)
			q.send(textFrame(s.words.Replace(c.frame)))
			f := q.until("error")
			if !strings.Contains(f, `"code":"`+c.code+`"`) || !strings.Contains(f, `"id":"7"`) || strings.Contains(f, canary) {
				t.Errorf("got %s, want %s", f, c.code)
			}
			for _, field := range []string{`"message":"`, `"retryable":false`, `"correlation_id":"`, `"cid":"`} {
				if !strings.Contains(f, field) {
					t.Errorf("the error lacks %s: %s", field, f)
				}
			}
			q.send(textFrame(`{"op":"ping","id":"8"}`))
			q.until("pong")
			s.n.wantAdded(t, before, map[string]float64{`ws_errors_total{code="` + c.code + `"}`: 1}, "ws_errors_total")
		})
	}
}

// foreignFrames: whatever names something that is not the caller's is refused,
// and nobody hears of it.
func foreignFrames(t *testing.T, s *scene) {
	bob, eve := s.bob.live(t), s.eve.live(t)
	for _, frame := range []string{
		`{"op":"send","id":"7","conversation_id":"{foreign}","client_msg_id":"x","body":"b"}`,
		`{"op":"send","id":"7","conversation_id":"{nobody}","client_msg_id":"x","body":"b"}`,
		`{"op":"ack","id":"7","conversation_id":"{foreign}","seq":1}`,
		`{"op":"read","id":"7","conversation_id":"{foreign}","seq":1}`,
		`{"op":"typing","id":"7","conversation_id":"{foreign}","on":true}`,
		`{"op":"typing","id":"7","conversation_id":"{nobody}","on":true}`,
	} {
		q := s.alice.live(t)
		q.send(textFrame(s.words.Replace(frame)))
		if f := q.until("error"); !strings.Contains(f, `"code":"not_found"`) || !strings.Contains(f, `"id":"7"`) {
			t.Errorf("%s: %s", frame, f)
		}
	}
	for _, frame := range []string{
		`{"op":"ack","id":"7","conversation_id":"{k}","seq":3}`, `{"op":"read","id":"7","conversation_id":"{k}","seq":3}`,
		`{"op":"ack","id":"7","conversation_id":"{k}","seq":-1}`,
	} {
		q := s.alice.live(t)
		q.send(textFrame(s.words.Replace(frame)))
		if f := q.until("error"); !strings.Contains(f, `"code":"invalid"`) {
			t.Errorf("%s: %s", frame, f)
		}
	}
	// The next thing that the others hear of is what alice may do.
	q := s.alice.live(t)
	q.send(textFrame(s.words.Replace(`{"op":"typing","conversation_id":"{k}","on":true}`)))
	if _, f, err := bob.next(); err != nil || !strings.HasPrefix(f, `{"op":"typing"`) || !strings.Contains(f, s.words.Replace("{k}")) {
		t.Errorf("bob heard %s %v", f, err)
	}
	eve.send(textFrame(`{"op":"ping","id":"1"}`))
	if _, f, err := eve.next(); err != nil || !strings.HasPrefix(f, `{"op":"pong"`) {
		t.Errorf("eve heard %s %v", f, err)
	}
}

// expiryInMidStream: a socket lives as long as its session, not as long as the
// proof that opened it.
func expiryInMidStream(t *testing.T, s *scene) {
	var late person
	for life := 2 * time.Second; ; life *= 2 { // however slow the machine is
		late = s.n.seed(t, fmt.Sprintf("brief%d", life/time.Second), 1, life)[0]
		if late.call("GET", "auth/sessions", nil).status == 200 {
			break
		}
	}
	q := late.live(t)
	within(t, "the end of a proof", func() bool { return late.call("GET", "auth/sessions", nil).status == 401 })
	q.send(textFrame(`{"op":"ping","id":"1"}`))
	q.until("pong")
}

func TestAFloodEndsOneSocketAlone(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), func(c *config.Config) { c.Limits.FramesPerSocket = config.Default().Limits.FramesPerSocket })
	alice, bob, eve := n.register("alice"), n.register("bob"), n.register("eve")
	k := alice.direct(bob)
	reader := bob.live(t)
	for name, frame := range map[string]string{"frames": textFrame(`{"op":"ping"}`), "pings": rawFrame(0x89, "x"), "typing": textFrame(`{"op":"typing","conversation_id":"` + k + `","on":true}`)} {
		before := n.metrics(t)
		q := eve.live(t)
		done := make(chan struct{})
		// Below the mebibyte that the server reads and drops after its last word:
		// past that it resets the connection, and the close frame may be lost.
		go func() { defer close(done); q.send(strings.Repeat(frame, 5_000)) }()
		if code := q.closed(); code != 4029 {
			t.Errorf("%s: closed with %d, want 4029", name, code)
		}
		<-done
		n.wantAdded(t, before, map[string]float64{`ws_closes_total{reason="rate_limited"}`: 1, `rate_limited_total{limit="frames_per_socket"}`: 1}, "ws_closes_total", "rate_limited_total")
	}
	alice.send(k, "c-1", "through").want(t, 201)
	if f := reader.until("message"); !strings.Contains(f, "through") {
		t.Errorf("got %s", f)
	}
	n.wantSound(t, alice)
}

func TestAHalfSentFrameIsNoFrame(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	q := alice.live(t)
	whole := textFrame(`{"op":"send","id":"1","conversation_id":"` + k + `","client_msg_id":"half","body":"half"}`)
	q.send(textFrame(`{"op":"ping"}`), whole[:len(whole)/2])
	q.until("pong") // the half is there too
	done := make(chan int, 1)
	go func() { done <- q.closed() }()
	ledger := n.stop()
	if code := <-done; code != 1012 {
		t.Errorf("closed with %d, want 1012", code)
	}
	if ledger.Accepted != 0 || ledger.Err != nil {
		t.Errorf("ledger %+v", ledger)
	}
}
