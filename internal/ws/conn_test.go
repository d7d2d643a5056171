package ws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"

	gobwas "github.com/gobwas/ws"

	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
)

func text(s string) *Frame { return NewFrame([]byte(s), Message, time.Time{}) }

func (b *bench) closes(why obs.CloseReason) string {
	b.t.Helper()
	return metric(b.t, b.obs, fmt.Sprintf("ws_closes_total{reason=%q}", why))
}

// metric reads one series from the page that Prometheus would read.
func metric(t testing.TB, o *obs.Obs, series string) string {
	t.Helper()
	w := httptest.NewRecorder()
	o.Metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for line := range strings.SplitSeq(w.Body.String(), "\n") {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return v
		}
	}
	t.Fatalf("no series %s", series)
	return ""
}

func TestEveryReasonHasItsCodeAndIsCountedOnce(t *testing.T) {
	want := map[obs.CloseReason]int{
		obs.CloseClient: 1000, obs.CloseGone: 1006, obs.ClosePing: 1001, obs.CloseShutdown: 1012, obs.CloseOverloaded: 1013,
		obs.CloseProtocol: 1002, obs.CloseBinary: 1003, obs.CloseUTF8: 1007, obs.CloseTooBig: 1009, obs.CloseInternal: 1011,
		obs.CloseRateLimited: 4029, obs.CloseSlow: 4050, obs.CloseResync: 4051, obs.CloseBadFrame: 4400, obs.CloseIdentity: 4401,
		obs.CloseHelloTimeout: 4408, obs.CloseReplaced: 4409, obs.CloseRevoked: 4410, obs.CloseUnheard: 1013,
	}
	b := newBench(t, Config{})
	n := 0
	for why := obs.CloseReason(0); why.String() != ""; why++ {
		n++
		c := b.dial()
		s := b.conn()
		s.Close(why, "")
		s.Close(obs.CloseInternal, "a second reason does not count")
		if _, err := c.Read(); CloseCode(err) != want[why] {
			t.Errorf("%v: %v, want %d", why, err, want[why])
		}
		b.wantEnd(why)
		if v := b.closes(why); v != "1" {
			t.Errorf("%v is counted %s times", why, v)
		}
		if Code(why) != 0 && Code(why) != uint16(want[why]) {
			t.Errorf("Code(%v) = %d", why, Code(why))
		}
	}
	if n != len(verdicts) || n != len(want) {
		t.Errorf("%d reasons, %d verdicts, %d expectations", n, len(verdicts), len(want))
	}
}

func TestQueuedFramesAreWrittenBeforeTheClose(t *testing.T) {
	b := newBench(t, Config{})
	var written sync.WaitGroup
	written.Add(100)
	b.h.Written = func(_ *Conn, frames []*Frame, at time.Time) {
		for _, f := range frames {
			if f.Kind() != Message || at.IsZero() {
				t.Errorf("kind %v at %v", f.Kind(), at)
			}
			written.Done()
		}
	}
	c, s := b.dial(), b.conn()
	for i := range 100 {
		s.Queue(text(fmt.Sprint(i)))
		s.Queue(NewFrame([]byte("c"), Control, time.Time{}))
	}
	s.Close(obs.CloseShutdown, "back soon")
	if s.Queue(text("late")) {
		t.Error("a closing socket took a frame")
	}
	for i := range 200 {
		m, err := c.Read()
		if want := fmt.Sprint(i / 2); err != nil || i%2 == 0 && string(m) != want || i%2 == 1 && string(m) != "c" {
			t.Fatalf("message %d: %q %v", i, m, err)
		}
	}
	_, err := c.Read()
	if e, ok := errors.AsType[*CloseError](err); !ok || e.Code != 1012 || e.Text != "back soon" || !e.Resumable() {
		t.Errorf("end: %v", err)
	}
	written.Wait()
	if e := b.wantEnd(obs.CloseShutdown); len(e.unsent) != 0 {
		t.Errorf("%d unsent", len(e.unsent))
	}
}

func TestFramesSentBeforeTheCloseWasSeenStillCount(t *testing.T) {
	b := newBench(t, Config{})
	p := b.raw()
	s := b.conn()
	heard := make(chan string, 8)
	release := make(chan struct{})
	b.h.Text = nil
	s.h.Text = func(_ *Conn, p []byte) {
		if heard <- string(p); string(p) == "first" {
			<-release
		}
	}
	p.send(fr(opText, "first"))
	next1(t, heard)
	s.mu.Lock() // as if the flusher were just about to write the close frame
	s.closeLocked(obs.CloseShutdown, closeFrame(1012, ""))
	s.mu.Unlock()
	p.send(fr(opText, "second"))
	close(release)
	if got := next1(t, heard); got != "second" {
		t.Errorf("heard %q", got)
	}
	b.srv.Kick()
	if all := p.transcriptAnswering(); !slices.Equal(all, []got{{opClose, closeBody(1012, "")}}) {
		t.Errorf("answers %q", all)
	}
	b.wantEnd(obs.CloseShutdown)
}

// transcriptAnswering reads until the connection ends and answers a close.
func (p *peer) transcriptAnswering() []got {
	var all []got
	for {
		g, err := p.read()
		if err != nil {
			return all
		}
		if all = append(all, g); g.op == opClose {
			p.send(fr(opClose, g.body))
		}
	}
}

func TestRevokedSocketIsDeafAndDumbAtOnce(t *testing.T) {
	b := newBench(t, Config{})
	entered, release := make(chan string, 8), make(chan struct{})
	b.h.Text = func(_ *Conn, p []byte) { entered <- string(p); <-release }
	p := b.raw(fr(opText, "before"), fr(opText, "after"))
	s := b.conn()
	next1(t, entered)
	s.Queue(NewFrame([]byte("late"), Message, time.Now()))
	s.Close(obs.CloseRevoked, "")
	close(release)
	if all := p.transcriptAnswering(); len(all) != 1 || all[0].op != opClose {
		t.Errorf("it got %v", all)
	}
	b.wantEnd(obs.CloseRevoked)
	if len(entered) != 0 {
		t.Errorf("handled %q", <-entered)
	}
}

func TestCloseWithoutAnswerIsCut(t *testing.T) {
	b := newBench(t, Config{CloseWait: 200 * time.Millisecond})
	p := b.raw()
	b.conn().Close(obs.CloseResync, "")
	if all := p.transcript(); len(all) != 1 || all[0].body[:2] != closeBody(4051, "") {
		t.Errorf("answers %q", all)
	}
	b.wantEnd(obs.CloseResync)
}

func TestSilentPeerIsPingedAndClosed(t *testing.T) {
	b := newBench(t, Config{PingEvery: 50 * time.Millisecond, PongWait: 50 * time.Millisecond, CloseWait: 100 * time.Millisecond})
	all := b.raw().transcript() // answers nothing
	if len(all) != 2 || all[0] != (got{opPing, ""}) || all[1].body[:2] != closeBody(1001, "") {
		t.Errorf("answers %q", all)
	}
	b.wantEnd(obs.ClosePing)
}

func TestPeerThatAnswersPingsStays(t *testing.T) {
	b := newBench(t, Config{PingEvery: 20 * time.Millisecond, PongWait: time.Second})
	pongs := make(chan struct{}, 100)
	b.h.Pinged = func(*Conn) { pongs <- struct{}{} }
	p := b.raw()
	for range 5 {
		if g, err := p.read(); err != nil || g.op != opPing {
			t.Fatal(g, err)
		}
		p.send(fr(opPong, ""))
		next1(t, pongs)
	}
	p.send(fr(opText, "still here"))
	for {
		if g, err := p.read(); err != nil || g == echo("still here") {
			if err != nil {
				t.Error(err)
			}
			break
		}
	}
}

func TestBrokenConnection(t *testing.T) {
	b := newBench(t, Config{})
	p := b.raw(fr(opText, "half")[:3])
	s := b.conn()
	_ = p.nc.(*net.TCPConn).SetLinger(0)
	_ = p.nc.Close()
	b.wantEnd(obs.CloseGone)
	if s.Queue(text("x")) {
		t.Error("a socket that is gone took a frame")
	}
}

func TestSlowReaderIsClosedAndDelaysNobody(t *testing.T) {
	b := newBench(t, Config{QueueFrames: 64})
	slow := b.raw()
	s := b.conn()
	quick := b.dial()
	q := b.conn()
	f := NewFrame(bytes.Repeat([]byte("x"), 60<<10), Message, time.Time{})
	sent := 0
	for ; s.Queue(f); sent++ {
		q.Send(text("tick"))
		b.srv.Kick()
		if _, err := quick.Read(); err != nil {
			t.Fatal(err)
		}
	}
	all := slow.transcriptAnswering()
	last := all[len(all)-1]
	if last.op != opClose || last.body[:2] != closeBody(4050, "") {
		t.Errorf("last frame %d %.20q", last.op, last.body)
	}
	e := b.wantEnd(obs.CloseSlow)
	if got := len(all) - 1 + len(e.unsent); got != sent {
		t.Errorf("%d read + %d unsent, want %d", len(all)-1, len(e.unsent), sent)
	}
}

func TestPeerThatNeverReadsIsCut(t *testing.T) {
	b := newBench(t, Config{WriteWait: 100 * time.Millisecond})
	written := 0
	b.h.Written = func(_ *Conn, frames []*Frame, _ time.Time) { written += len(frames) }
	b.raw()
	s := b.conn()
	f := NewFrame(bytes.Repeat([]byte("x"), 60<<10), Message, time.Time{})
	sent := 0
	for { // far from a full queue: only the time can end this
		if len(s.snapshot()) < 3 {
			if !s.Queue(f) {
				break
			}
			sent++
			b.srv.Kick()
		}
		runtime.Gosched()
	}
	e := b.wantEnd(obs.CloseSlow)
	if written+len(e.unsent) != sent {
		t.Errorf("%d written + %d unsent, want %d", written, len(e.unsent), sent)
	}
}

func (c *Conn) snapshot() []*Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.queue)
}

func TestEphemeralFramesGoFirst(t *testing.T) {
	b := newBench(t, Config{QueueFrames: 4})
	s := socketless(b.srv, 1)[0]
	e := NewFrame([]byte("typing"), Ephemeral, time.Time{})
	m := []*Frame{text("1"), text("2"), text("3"), text("4")}
	for _, f := range []*Frame{m[0], e, m[1], e, m[2], m[3]} {
		if !s.Queue(f) {
			t.Fatal("refused")
		}
	}
	if !slices.Equal(s.snapshot(), m) {
		t.Errorf("queue %v", s.snapshot())
	}
	if !s.Queue(e) || !slices.Equal(s.snapshot(), m) {
		t.Error("an ephemeral frame without room must vanish and harm nobody")
	}
	if s.Queue(text("5")) || s.phase != closing || s.why != obs.CloseSlow {
		t.Errorf("phase %d, reason %v", s.phase, s.why)
	}
	if s.bytes != b.srv.slow.Len() || len(s.unsent) != 4 {
		t.Errorf("%d bytes queued, %d frames given up", s.bytes, len(s.unsent))
	}
}

func TestQueueIsBoundedByBytes(t *testing.T) {
	b := newBench(t, Config{QueueBytes: 1000})
	s := socketless(b.srv, 2)
	if big := NewFrame(make([]byte, 5000), Message, time.Time{}); !s[0].Queue(big) || s[0].Queue(text("x")) {
		t.Error("a frame above the bound goes alone")
	}
	n := 0
	for s[1].Queue(NewFrame(make([]byte, 98), Message, time.Time{})) { // 100 on the wire
		n++
	}
	if n != 10 {
		t.Errorf("%d frames of 100 bytes fit in 1000", n)
	}
}

func TestRateLimit(t *testing.T) {
	for name, frame := range map[string][]byte{"text": fr(opText, "x"), "ping": fr(opPing, "x"), "pong": fr(opPong, "")} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{FramesPerSocket: limit.Rate{PerSecond: .001, Burst: 10}})
			p := b.raw(bytes.Repeat(frame, 1000))
			all := p.transcript()
			if last := all[len(all)-1]; last.op != opClose || last.body[:2] != closeBody(4029, "") || len(all) > 11 {
				t.Errorf("%d answers, last %q", len(all), last)
			}
			_ = p.nc.Close()
			b.wantEnd(obs.CloseRateLimited)
			if v := metric(t, b.obs, `rate_limited_total{limit="frames_per_socket"}`); v != "1" {
				t.Errorf("counted %s times", v)
			}
		})
	}
}

func TestRateRecovers(t *testing.T) {
	var b bucket
	const every, burst = 100, 3
	for i, c := range []struct {
		now  int64
		want bool
	}{{1, true}, {1, true}, {1, true}, {1, false}, {100, false}, {101, true}, {102, false}, {301, true}, {301, true}, {301, false}} {
		if got := b.take(c.now, every, burst); got != c.want {
			t.Errorf("step %d at %d: %v", i, c.now, got)
		}
	}
	var none bucket
	for now := range int64(1000) {
		if !none.take(now/10+1, 0, 0) {
			t.Fatal("no rate must be no bound")
		}
	}
}

func TestFloodAfterTheCloseIsNotReadForEver(t *testing.T) {
	b := newBench(t, Config{})
	p := b.raw(flip(fr(opText, "a"), 0x40))
	junk := make([]byte, 64<<10)
	for {
		if _, err := p.nc.Write(junk); err != nil {
			break
		}
	}
	b.wantEnd(obs.CloseProtocol)
}

func TestPanicsEndTheSocketAlone(t *testing.T) {
	for name, spoil := range map[string]func(*Handler){
		"opened":  func(h *Handler) { h.Opened = func(*Conn) { panic("oops") } },
		"text":    func(h *Handler) { h.Text = func(*Conn, []byte) { panic("oops") } },
		"written": func(h *Handler) { h.Written = func(*Conn, []*Frame, time.Time) { panic("oops") } },
		"pinged":  func(h *Handler) { h.Pinged = func(*Conn) { panic("oops") } },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			other := b.dial()
			spoil(&b.h)
			p := b.raw(fr(opPing, ""), fr(opText, "a"))
			all := p.transcriptAnswering()
			if last := all[len(all)-1]; last.op != opClose || last.body[:2] != closeBody(1011, "") {
				t.Errorf("answers %q", all)
			}
			b.wantEnd(obs.CloseInternal)
			if v := metric(t, b.obs, `panics_total{site="socket"}`); v != "1" {
				t.Errorf("%s panics", v)
			}
			if err := other.WriteText([]byte("x")); err != nil {
				t.Error(err)
			}
			if m, err := other.Read(); err != nil || string(m) != "x" {
				t.Error(string(m), err)
			}
		})
	}
	t.Run("closed", func(t *testing.T) {
		b := newBench(t, Config{})
		done := make(chan struct{})
		b.h.Closed = func(*Conn, obs.CloseReason, []*Frame) { defer close(done); panic("oops") }
		b.raw(fr(opClose, "")).transcript()
		next1(t, done)
	})
}

func TestOrderUnderConcurrency(t *testing.T) {
	b := newBench(t, Config{QueueFrames: 1 << 20, QueueBytes: 1 << 30})
	const socks, senders, each = 8, 4, 500
	var wg sync.WaitGroup
	conns := make([]*Conn, socks)
	for i := range socks {
		c := b.dial()
		conns[i] = b.conn()
		wg.Go(func() {
			next := map[byte]int{}
			for range senders * each {
				m, err := c.Read()
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				_, _ = fmt.Sscan(string(m[1:]), &n)
				if n != next[m[0]] {
					t.Errorf("sender %c: %d, want %d", m[0], n, next[m[0]])
					return
				}
				next[m[0]]++
			}
		})
	}
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				f := text(fmt.Sprintf("%c%d", 'a'+s, i))
				for _, c := range conns {
					c.Queue(f)
				}
				b.srv.Kick()
			}
		})
	}
	wg.Wait()
}

func TestCloseAll(t *testing.T) {
	b := newBench(t, Config{})
	const n = 50
	var wg sync.WaitGroup
	for range n {
		c := b.dial()
		b.conn()
		wg.Go(func() {
			if _, err := c.Read(); CloseCode(err) != 1012 {
				t.Errorf("end: %v", err)
			}
		})
	}
	if got := b.srv.CloseAll(context.Background(), obs.CloseShutdown, 50*time.Millisecond); got != n {
		t.Errorf("closed %d", got)
	}
	if b.srv.Count() != 0 {
		t.Errorf("%d left", b.srv.Count())
	}
	wg.Wait()
	if got := b.srv.CloseAll(context.Background(), obs.CloseShutdown, 0); got != 0 {
		t.Errorf("closed %d of nobody", got)
	}
}

func TestCloseAllIsBounded(t *testing.T) {
	b := newBench(t, Config{CloseWait: time.Second})
	p := b.raw() // does not answer
	b.conn()     // the server has it
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = p.read()
		cancel()
	}()
	b.srv.CloseAll(ctx, obs.CloseShutdown, 0)
	if ctx.Err() == nil || b.srv.Count() != 1 {
		t.Errorf("%v, %d sockets", ctx.Err(), b.srv.Count())
	}
}

func TestStopCutsWhoDoesNotAnswer(t *testing.T) {
	b := newBench(t, Config{CloseWait: 100 * time.Millisecond})
	full, mute := b.raw(), b.raw()
	f := NewFrame(bytes.Repeat([]byte("x"), 60<<10), Message, time.Time{})
	for s := b.conn(); len(s.snapshot()) < 3; { // until the kernel takes no more
		s.Send(f)
	}
	if r := b.group.Stop(context.Background()); r.Err() != nil || r.GoroutinesLeft != 0 {
		t.Errorf("%v, left %v", r.Err(), r.Left)
	}
	b.wantEnd(obs.CloseShutdown)
	b.wantEnd(obs.CloseShutdown)
	full.transcript()
	if all := mute.transcript(); len(all) > 1 && all[len(all)-1].op != opClose {
		t.Errorf("answers %d", len(all))
	}
}

func TestState(t *testing.T) {
	b := newBench(t, Config{})
	b.h.Opened = func(c *Conn) { c.SetState(42) }
	got := make(chan any, 1)
	b.h.Text = func(c *Conn, _ []byte) { got <- c.State() }
	b.raw(fr(opText, "x"))
	if v := next1(t, got); v != 42 {
		t.Errorf("state %v", v)
	}
	seen := 0
	b.srv.Each(func(*Conn) { seen++ })
	if seen != 1 || new(Conn).State() != nil {
		t.Errorf("%d sockets", seen)
	}
}

// pipes stand for all connections without a descriptor, TLS among them.
func TestConnectionWithoutDescriptor(t *testing.T) {
	b := newBench(t, Config{})
	client, server := net.Pipe()
	c := &Conn{nc: server, h: b.h, id: "x"}
	b.srv.place(c)
	b.srv.add(c)
	c.startReading()
	p := &peer{t, client, nil}
	p.br = newReader(client)
	for i := range 3 {
		s := strings.Repeat(fmt.Sprint(i), 5000*i+1)
		go p.send(fr(opText, s))
		if g, err := p.read(); err != nil || g != echo(s) {
			t.Fatal(g, err)
		}
	}
	go p.send(fr(opClose, ""))
	if all := p.transcript(); len(all) != 1 || all[0].op != opClose {
		t.Errorf("answers %q", all)
	}
	b.wantEnd(obs.CloseClient)
}

func TestStuckStreamIsCut(t *testing.T) {
	b := newBench(t, Config{WriteWait: 50 * time.Millisecond})
	client, server := net.Pipe()
	defer func() { _ = client.Close() }()
	c := &Conn{nc: server, h: b.h, id: "x"}
	b.srv.place(c)
	b.srv.add(c)
	c.startReading()
	c.Send(text("nobody reads this"))
	if e := b.wantEnd(obs.CloseSlow); len(e.unsent) != 1 {
		t.Errorf("%d unsent", len(e.unsent))
	}
}

// TestInterop speaks with a client that others wrote.
func TestInterop(t *testing.T) {
	b := newBench(t, Config{})
	nc, _, _, err := gobwas.Dialer{Protocols: []string{"nova.v1"}}.Dial(context.Background(), b.url())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		s := strings.Repeat("ä", n/2)
		if err := wsutil.WriteClientText(nc, []byte(s)); err != nil {
			t.Fatal(err)
		}
		m, op, err := wsutil.ReadServerData(nc)
		if err != nil || op != gobwas.OpText || string(m) != s {
			t.Fatalf("%d bytes: %d bytes, %v, %v", n, len(m), op, err)
		}
	}
	if err := wsutil.WriteClientMessage(nc, gobwas.OpClose, gobwas.NewCloseFrameBody(1000, "")); err != nil {
		t.Fatal(err)
	}
	f, err := gobwas.ReadFrame(nc) //nolint:staticcheck // the peer is our own server
	if code, _ := gobwas.ParseCloseFrameData(f.Payload); err != nil || f.Header.OpCode != gobwas.OpClose || code != 1000 {
		t.Errorf("%v %v", f.Header, err)
	}
	if rest, err := io.ReadAll(nc); err != nil || len(rest) != 0 {
		t.Errorf("after the close: %q %v", rest, err)
	}
	_ = nc.Close()
	b.wantEnd(obs.CloseClient)
}
