package ws

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// end is what Handler.Closed was told.
type end struct {
	why    obs.CloseReason
	unsent []*Frame
}

// bench is a server on loopback; its handler can be changed before the first
// upgrade. The default one echoes.
type bench struct {
	t      testing.TB
	obs    *obs.Obs
	group  *run.Group
	srv    *Server
	http   *httptest.Server
	h      Handler
	conns  chan *Conn
	ends   chan end
	faults chan error
}

func newBench(t testing.TB, cfg Config) *bench {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, obs: o, group: run.New(o), conns: make(chan *Conn, 20000), ends: make(chan end, 20000), faults: make(chan error, 1000)}
	b.srv = NewServer(o, b.group, cfg)
	b.h = Handler{
		Text:   func(c *Conn, p []byte) { c.Send(NewFrame(p, Message, time.Time{})) },
		Closed: func(_ *Conn, why obs.CloseReason, unsent []*Frame) { b.ends <- end{why, unsent} },
	}
	b.http = httptest.NewServer(b)
	t.Cleanup(func() {
		if r := b.group.Stop(context.Background()); r.Err() != nil || r.GoroutinesLeft > 0 {
			t.Errorf("stop: %v, left: %v", r.Err(), r.Left)
		}
		b.http.Close()
		if n := b.srv.Count(); n != 0 {
			t.Errorf("%d sockets are counted after the stop", n)
		}
	})
	return b
}

func (b *bench) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := b.srv.Upgrade(w, r, "corr-1", b.h)
	if err == nil {
		b.conns <- c
		return
	}
	b.faults <- err
	status := map[fault.Code]int{
		fault.CodeUpgradeRequired: 426, fault.CodeMethodNotAllowed: 405, fault.CodeForbidden: 403, fault.CodeUnavailable: 503, fault.CodeInternal: 500,
	}[fault.CodeOf(err)]
	w.WriteHeader(max(status, 400))
}

func (b *bench) url() string { return "ws" + strings.TrimPrefix(b.http.URL, "http") + "/api/v1/ws" }

func (b *bench) dial() *Client {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := Dial(ctx, b.url(), DialOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(c.Drop)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	return c
}

func (b *bench) conn() *Conn { return next1(b.t, b.conns) }

// wantEnd waits for the next end and compares its reason.
func (b *bench) wantEnd(why obs.CloseReason) end {
	b.t.Helper()
	e := next1(b.t, b.ends)
	if e.why != why {
		b.t.Errorf("closed for %q, want %q", e.why, why)
	}
	return e
}

func next1[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	return v
}

// peer is a raw client that can send anything.
type peer struct {
	t  testing.TB
	nc net.Conn
	br *bufio.Reader
}

const handshake = "GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: nova.v1\r\n"

// raw opens a connection, sends the handshake and what follows it in one
// segment, and reads the answer.
func (b *bench) raw(rest ...[]byte) *peer {
	b.t.Helper()
	nc, err := net.Dial("tcp", b.http.Listener.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	p := &peer{b.t, nc, bufio.NewReader(nc)}
	p.send(append([]byte(handshake+"\r\n"), concat(rest...)...))
	resp, err := http.ReadResponse(p.br, nil)
	if err != nil || resp.StatusCode != 101 {
		b.t.Fatalf("upgrade: %v %v", resp, err)
	}
	return p
}

func (p *peer) send(parts ...[]byte) {
	p.t.Helper()
	if _, err := p.nc.Write(concat(parts...)); err != nil {
		p.t.Logf("send: %v", err) // the server may have closed already
	}
}

// got is a frame from the server.
type got struct {
	op   byte
	body string
}

var errGone = errors.New("connection ended")

func (p *peer) read() (got, error) {
	var h [2]byte
	if _, err := io.ReadFull(p.br, h[:]); err != nil {
		return got{}, errGone
	}
	n := int(h[1])
	switch n {
	case 126:
		var l [2]byte
		_, _ = io.ReadFull(p.br, l[:])
		n = int(binary.BigEndian.Uint16(l[:]))
	case 127:
		var l [8]byte
		_, _ = io.ReadFull(p.br, l[:])
		n = int(binary.BigEndian.Uint64(l[:]))
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(p.br, body); err != nil {
		return got{}, err
	}
	if h[0]&0xf0 != 0x80 {
		p.t.Errorf("the server sent first byte %#x", h[0])
	}
	return got{h[0] & 0x0f, string(body)}, nil
}

// transcript reads until the connection ends. It answers nothing.
func (p *peer) transcript() []got {
	var all []got
	for {
		g, err := p.read()
		if err != nil {
			return all
		}
		all = append(all, g)
	}
}

func concat(parts ...[]byte) []byte {
	var all []byte
	for _, b := range parts {
		all = append(all, b...)
	}
	return all
}

const testMask = 0x78563412

// fr is a masked final frame.
func fr(op byte, payload string) []byte { return appendMasked(nil, op, []byte(payload), testMask) }

// part is a masked frame that is not final.
func part(op byte, payload string) []byte {
	b := fr(op, payload)
	b[0] &^= finBit
	return b
}

// flip sets bits of the first byte.
func flip(frame []byte, bits byte) []byte {
	frame[0] ^= bits
	return frame
}

func closeBody(code uint16, text string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + text
}

var testTime = time.Unix(1, 0)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }
