package e2e

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
)

// end is a way in which a socket ends: what brings it about, the code that
// the client sees and the one series that counts it.
type end struct {
	name   string
	code   int // 0: no close frame
	reason obs.CloseReason
	why    string                                     // it cannot be brought about from outside
	run    func(t *testing.T, s *scene, p person) int // gives the code that came
}

// sends is an ending by what a live client sends.
func sends(name string, code int, reason obs.CloseReason, frames ...string) end {
	return end{name: name, code: code, reason: reason, run: func(t *testing.T, _ *scene, p person) int {
		q := p.live(t)
		q.send(frames...)
		return q.closed()
	}}
}

// opens is an ending by the first frame of a client.
func opens(name string, code int, reason obs.CloseReason, frame string) end {
	return end{name: name, code: code, reason: reason, run: func(t *testing.T, s *scene, p person) int {
		q := person{n: s.n}.peer(t, "")
		q.send(frame)
		return q.closed()
	}}
}

var ends = []end{
	sends("the client closes", 1000, obs.CloseClient, rawFrame(0x88, "\x03\xe8bye")),
	sends("the client closes without a code", 0, obs.CloseClient, rawFrame(0x88, "")),
	{name: "the connection breaks", reason: obs.CloseGone, run: func(t *testing.T, _ *scene, p person) int {
		q := p.live(t)
		_ = q.c.(*net.TCPConn).SetLinger(0)
		_ = q.c.Close()
		return 0
	}},
	{name: "no answer to pings", why: "TestASilentSocketIsClosed, as it takes half a minute"},
	{name: "shutdown", why: "TestAStopIsCountedAsShutdown, as it ends the process"},
	{name: "overloaded", why: "TestTheStoreFailsWhileASocketCatchesUp, as it damages the database"},
	sends("unmasked", 1002, obs.CloseProtocol, "\x81\x02hi"),
	sends("reserved bit 1, as of a compressed frame", 1002, obs.CloseProtocol, rawFrame(0xc1, "hi")),
	sends("reserved bit 3", 1002, obs.CloseProtocol, rawFrame(0x91, "hi")),
	sends("reserved opcode 3", 1002, obs.CloseProtocol, rawFrame(0x83, "hi")),
	sends("reserved opcode 15", 1002, obs.CloseProtocol, rawFrame(0x8f, "hi")),
	sends("ping of 126 bytes", 1002, obs.CloseProtocol, rawFrame(0x89, strings.Repeat("x", 126))),
	sends("ping in fragments", 1002, obs.CloseProtocol, rawFrame(0x09, "x")),
	sends("continuation first", 1002, obs.CloseProtocol, rawFrame(0x80, "x")),
	sends("new message inside another", 1002, obs.CloseProtocol, rawFrame(0x01, "x"), textFrame("y")),
	sends("length of 64 bits with the top bit", 1002, obs.CloseProtocol, "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"),
	sends("length in more bytes than it needs", 1002, obs.CloseProtocol, "\x81\xfe\x00\x01\x00\x00\x00\x00x"),
	sends("close with 1 byte", 1002, obs.CloseProtocol, rawFrame(0x88, "\x03")),
	sends("close with 999", 1002, obs.CloseProtocol, rawFrame(0x88, "\x03\xe7")),
	sends("close with 1005", 1002, obs.CloseProtocol, rawFrame(0x88, "\x03\xed")),
	sends("close with 1006", 1002, obs.CloseProtocol, rawFrame(0x88, "\x03\xee")),
	sends("close with 2000", 1002, obs.CloseProtocol, rawFrame(0x88, "\x07\xd0")),
	sends("binary", 1003, obs.CloseBinary, rawFrame(0x82, "hi")),
	sends("no UTF-8", 1007, obs.CloseUTF8, textFrame("{\"op\":\"\xff\"}")),
	sends("no UTF-8 in a fragment, without waiting for the last", 1007, obs.CloseUTF8, rawFrame(0x01, "{"), rawFrame(0x00, "\xff")),
	sends("no UTF-8 in the reason of a close", 1007, obs.CloseUTF8, rawFrame(0x88, "\x03\xe8\xff")),
	sends("64 KiB and 1", 1009, obs.CloseTooBig, textFrame(strings.Repeat("x", 64<<10+1))),
	sends("64 KiB and 1 in two fragments", 1009, obs.CloseTooBig, rawFrame(0x01, strings.Repeat("x", 64<<10)), rawFrame(0x80, "x")),
	sends("a length that is announced alone", 1009, obs.CloseTooBig, "\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff"),
	sends("10,000 fragments of 1 byte", 1009, obs.CloseTooBig, rawFrame(0x01, "x"), strings.Repeat(rawFrame(0x00, "x"), 10_000)),
	{name: "internal", why: "a panic; there is none to be had from outside"},
	{name: "too many frames", code: 4029, reason: obs.CloseRateLimited, why: "TestAFloodEndsOneSocketAlone"},
	{name: "never reads", code: 4050, reason: obs.CloseSlow, run: neverReads},
	{name: "resync", why: "positions are missing only where two nodes share a store"},
	sends("no object", 4400, obs.CloseBadFrame, textFrame("[]")),
	sends("no JSON", 4400, obs.CloseBadFrame, textFrame(`{"op":`)),
	sends("deeper than any frame", 4400, obs.CloseBadFrame, textFrame(`{"op":"ping","x":`+strings.Repeat("[", 20_000))),
	sends("wrong and cut off", 4400, obs.CloseBadFrame, textFrame(`{"op":5,"id":"7"`)),
	sends("hello twice", 4400, obs.CloseBadFrame, textFrame(`{"op":"hello","id":"2"}`)),
	sends("ten wrong ones", 4400, obs.CloseBadFrame, strings.Repeat(textFrame(`{"op":"dance"}`), 10)),
	opens("a hello from nobody", 4401, obs.CloseIdentity, textFrame(`{"op":"hello"}`)),
	opens("a ticket that never was", 4401, obs.CloseIdentity, textFrame(`{"op":"hello","ticket":"t~x"}`)),
	opens("something else before hello", 4401, obs.CloseIdentity, textFrame(`{"op":"ping"}`)),
	{name: "no hello", code: 4408, reason: obs.CloseHelloTimeout, run: func(t *testing.T, _ *scene, p person) int { return p.peer(t, "").closed() }},
	{name: "a newer socket", code: 4409, reason: obs.CloseReplaced, run: func(t *testing.T, _ *scene, p person) int {
		q := p.live(t)
		p.live(t).idle()
		return q.closed()
	}},
	{name: "logout", code: 4410, reason: obs.CloseRevoked, run: func(t *testing.T, _ *scene, p person) int {
		q := p.live(t)
		p.call("POST", "auth/logout", nil).want(t, 204)
		return q.closed()
	}},
	{name: "a socket of a session that has ended", code: 4410, reason: obs.CloseRevoked, run: func(t *testing.T, _ *scene, p person) int {
		p.call("POST", "auth/logout", nil).want(t, 204)
		q := p.peer(t, "")
		q.send(textFrame(`{"op":"hello"}`))
		return q.closed()
	}},
	{name: "nobody tells which sessions have ended", code: 1013, reason: obs.CloseUnheard, why: "takes several processes: TestSessionsEndOverEitherRoad"},
}

// neverReads lets messages pile up for a client that takes none of them. It is
// cut off 5 s after it was found too slow; so whether it still reads the code
// depends on the machine, and internal/ws holds it to that.
func neverReads(t *testing.T, s *scene, p person) int {
	k := s.alice.direct(p)
	q := p.live(t)
	_ = q.c.(*net.TCPConn).SetReadBuffer(4096)
	const all, lanes = 400, 20 // more than the kernel's buffers and the socket's queue hold
	var senders sync.WaitGroup
	for lane := range lanes {
		senders.Go(func() {
			for i := range all / lanes {
				s.alice.send(k, fmt.Sprintf("slow-%d-%d", lane, i), strings.Repeat("x", 16<<10))
			}
		})
	}
	senders.Wait()
	_ = q.c.SetDeadline(time.Now().Add(patience))
	if code := q.closed(); code != 0 {
		return code
	}
	return 4050
}

func TestEveryEndOfASocketIsCountedOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	people := s.n.seed(t, "p", len(ends), time.Hour)
	begin := s.n.metrics(t)
	want := map[string]float64{}
	for i, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			if e.why != "" {
				t.Skip(e.why)
			}
			before := s.n.metrics(t)
			p := people[i]
			// Connections outlive the subtest, so that none of them ends in the next.
			if code := e.run(s.n.t, s, p); code != e.code {
				t.Errorf("closed with %d, want %d", code, e.code)
			}
			series := `ws_closes_total{reason="` + e.reason.String() + `"}`
			want[series]++
			s.n.wantAdded(t, before, map[string]float64{series: 1}, "ws_closes_total")
		})
	}
	s.n.wantAdded(t, begin, want, "ws_closes_total") // nothing was counted late, or twice
	s.n.wantSound(t, s.alice)
}

func TestASilentSocketIsClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the 30 s that a client has")
	}
	t.Parallel()
	n := start(t, t.TempDir())
	before := n.metrics(t)
	q := n.register("alice").live(t)
	_ = q.c.SetDeadline(time.Now().Add(2 * patience))
	code := 0
	for code == 0 { // pings come, and are not answered
		op, body, err := q.next()
		if err != nil {
			t.Fatal(err)
		}
		if op == 8 {
			code = int(body[0])<<8 | int(body[1])
		}
	}
	if code != 1001 {
		t.Errorf("closed with %d, want 1001", code)
	}
	_ = q.c.Close()
	n.wantAdded(t, before, map[string]float64{`ws_closes_total{reason="ping_timeout"}`: 1}, "ws_closes_total")
}

func TestAStopIsCountedAsShutdown(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	before := n.metrics(t)
	q := n.register("alice").live(t)
	done := make(chan int, 1)
	go func() { done <- q.closed() }()
	ledger := n.stop()
	if code := <-done; code != 1012 || ledger.SocketsClosed != 1 {
		t.Errorf("closed with %d; ledger %+v", code, ledger)
	}
	n.wantAdded(t, before, map[string]float64{`ws_closes_total{reason="shutdown"}`: 1}, "ws_closes_total")
	phases := map[string]float64{}
	for p := obs.Phase(0); p.String() != ""; p++ {
		phases[`shutdown_phase_duration_seconds_count{phase="`+p.String()+`"}`] = float64(len(n.apps))
	}
	n.wantAdded(t, before, phases, "shutdown_phase_duration_seconds_count")
}

// refusedSends are drafts that are refused once they were understood.
var refusedSends = []struct{ name, conversation, client, body, code string }{
	{"no identifier", "x", "a", "b", "bad_id"},
	{"nothing there", "{nobody}", "a", "b", "not_found"},
	{"not mine", "{foreign}", "a", "b", "not_found"},
	{"no text", "{k}", "a", "", "invalid"},
	{"client_msg_id with a space", "{k}", "a b", "b", "invalid"},
	{"client_msg_id too long", "{k}", strings.Repeat("a", 65), "b", "too_long"},
	{"text too long", "{k}", "a", strings.Repeat("x", 16<<10+1), "too_long"},
	{"U+0000, which the edge refuses over REST", "{k}", "a", "\x00", "bad_request"},
	{"used before", "{k}", "c-1", "another text", "idempotency_conflict"},
}

var sendFamilies = []string{"messages_accepted_total", "messages_committed_total", "messages_repeated_total", "messages_rejected_total", "messages_unknown_total"}

func TestEveryRefusedSendIsCountedOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	q := s.n.seed(t, "quiet", 1, time.Hour)[0].live(t) // hears nothing of all this
	rows := s.books.sum()
	for _, c := range refusedSends {
		t.Run(c.name, func(t *testing.T) {
			want := map[string]float64{"messages_accepted_total": 1, `messages_rejected_total{code="` + c.code + `"}`: 1}
			conversation := s.words.Replace(c.conversation)
			before := s.n.metrics(t)
			if a := s.alice.send(conversation, c.client, c.body); a.text("code") != c.code {
				t.Errorf("REST: %s", a.raw)
			}
			if c.body == "\x00" {
				s.n.wantAdded(t, before, map[string]float64{}, sendFamilies...)
			} else {
				s.n.wantAdded(t, before, want, sendFamilies...)
			}
			before = s.n.metrics(t)
			mine, _, _ := s.alice.connect()
			mine.write(map[string]any{"op": "send", "id": "1", "conversation_id": conversation, "client_msg_id": c.client, "body": c.body})
			if f := mine.read(); f["code"] != c.code || f["id"] != "1" {
				t.Errorf("socket: %v", f)
			}
			want[`ws_errors_total{code="`+c.code+`"}`] = 1
			s.n.wantAdded(t, before, want, append(sendFamilies, "ws_errors_total")...)
		})
	}
	s.books.wantSame(t, rows)
	q.send(textFrame(`{"op":"ping"}`))
	if _, f, err := q.next(); err != nil || !strings.HasPrefix(f, `{"op":"pong"`) {
		t.Errorf("a bystander heard %s %v", f, err)
	}
	s.n.wantSound(t, s.alice)
}

func TestSendsAboveTheLimitsAreCounted(t *testing.T) {
	t.Parallel()
	for limit, change := range map[string]func(*config.Limits){
		"messages_per_user":         func(l *config.Limits) { l.MessagesPerUser = config.Rate{Count: 1, Per: time.Hour, Burst: 1} },
		"messages_per_conversation": func(l *config.Limits) { l.MessagesPerConversation = config.Rate{Count: 1, Per: time.Hour, Burst: 1} },
	} {
		t.Run(limit, func(t *testing.T) {
			n := start(t, t.TempDir(), func(c *config.Config) { change(&c.Limits) }).pinned()
			alice, bob := n.register("alice"), n.register("bob")
			k := alice.direct(bob)
			alice.send(k, "c-1", "text").want(t, 201)
			before := n.metrics(t)
			alice.send(k, "c-2", "text").wantProblem(t, 429, "rate_limited", "")
			n.wantAdded(t, before, map[string]float64{
				"messages_accepted_total": 1, `messages_rejected_total{code="rate_limited"}`: 1, `rate_limited_total{limit="` + limit + `"}`: 1,
			}, append(sendFamilies, "rate_limited_total")...)
			before = n.metrics(t)
			mine := alice.live(t)
			mine.send(textFrame(`{"op":"send","id":"1","conversation_id":"` + k + `","client_msg_id":"c-3","body":"b"}`))
			if f := mine.until("error"); !strings.Contains(f, `"code":"rate_limited"`) || !strings.Contains(f, `"retry_after_ms":`) {
				t.Errorf("got %s", f)
			}
			n.wantAdded(t, before, map[string]float64{
				"messages_accepted_total": 1, `messages_rejected_total{code="rate_limited"}`: 1, `rate_limited_total{limit="` + limit + `"}`: 1,
			}, append(sendFamilies, "rate_limited_total")...)
			if a := bob.call("GET", "conversations/"+k, nil).want(t, 200); a.number("last_seq") != 1 {
				t.Errorf("a refused message was stored: %s", a.raw)
			}
		})
	}
}
