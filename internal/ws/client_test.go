package ws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// canned is a connection that gives the same bytes for ever and keeps the
// latest write.
type canned struct {
	net.Conn
	bytes []byte
	at    int
	wrote []byte
}

func (c *canned) Read(p []byte) (int, error) {
	n := copy(p, c.bytes[c.at:])
	c.at = (c.at + n) % len(c.bytes)
	return n, nil
}

func (c *canned) Write(p []byte) (int, error) {
	c.wrote = append(c.wrote[:0], p...)
	return len(p), nil
}

func cannedClient(frames ...[]byte) (*Client, *canned) {
	c := &canned{bytes: concat(frames...)}
	return &Client{nc: c, br: bufio.NewReader(c)}, c
}

func server(op byte, payload string) []byte { return newFrame(op, []byte(payload)).wire }

func TestClientAllocatesNothingPerMessage(t *testing.T) {
	c, _ := cannedClient(server(opText, strings.Repeat("x", 300)), server(opPing, "p"))
	text := bytes.Repeat([]byte("y"), 300)
	if n := testing.AllocsPerRun(200, func() {
		if m, err := c.Read(); err != nil || len(m) != 300 {
			t.Fatal(len(m), err)
		}
		if err := c.WriteText(text); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per message read and written", n)
	}
}

func TestClientReads(t *testing.T) {
	joined := server(opText, "a")
	joined[0] &^= finBit
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   string
		code   int
	}{
		{"text", in(server(opText, "a")), "a", 0},
		{"64 KiB", in(server(opText, strings.Repeat("x", 64<<10))), strings.Repeat("x", 64<<10), 0},
		{"fragments with a ping inside", in(joined, server(opPing, "p"), server(opContinue, "b")), "ab", 0},
		{"pong is passed over", in(server(opPong, ""), server(opText, "a")), "a", 0},
		{"close", in(server(opClose, closeBody(4410, "bye"))), "", 4410},
		{"close without a code", in(server(opClose, "")), "", 0},
		{"masked", in(fr(opText, "a")), "", 1006},
		{"reserved bit", in(flip(server(opText, "a"), 0x40)), "", 1006},
		{"announced beyond all measure", in([]byte{0x81, 127, 0x7f, 0, 0, 0, 0, 0, 0, 0}), "", 1006},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, _ := cannedClient(c.frames...)
			m, err := client.Read()
			if c.want != "" && (err != nil || string(m) != c.want) {
				t.Errorf("%.20q, %v", m, err)
			}
			if c.want == "" && (err == nil || CloseCode(err) != c.code) {
				t.Errorf("%v, want code %d", err, c.code)
			}
		})
	}
}

func TestClientAnswersPingsAndClose(t *testing.T) {
	c, nc := cannedClient(server(opPing, "hello"), server(opClose, closeBody(1012, "later")))
	_, err := c.Read()
	e, ok := errors.AsType[*CloseError](err)
	if !ok || e.Code != 1012 || e.Text != "later" {
		t.Fatal(err)
	}
	h, _ := parseFirst(nc.wrote[0])
	h, _ = parseRest(h, nc.wrote)
	p := nc.wrote[h.size:]
	unmask(p, h.mask)
	if h.op != opClose || string(p) != closeBody(1012, "") {
		t.Errorf("answered %d %q", h.op, p)
	}
	nc.wrote = nil
	if err := c.Close(1000, ""); err != nil || nc.wrote != nil {
		t.Errorf("a second close frame: %v %q", err, nc.wrote)
	}
}

func TestResumable(t *testing.T) {
	for code, want := range map[int]bool{0: true, 1000: false, 1001: true, 1002: false, 1009: false, 1012: true, 1013: true, 4029: true, 4050: true, 4399: true, 4400: false, 4410: false} {
		if got := (&CloseError{Code: code}).Resumable(); got != want {
			t.Errorf("%d: %v", code, got)
		}
	}
}

func TestDialTellsTheRefusal(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.URL.RequestURI()+" "+r.Header.Get("Authorization")+" "+r.Header.Get("Sec-Websocket-Protocol"))
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no")
	}))
	defer h.Close()
	_, err := Dial(context.Background(), "ws"+strings.TrimPrefix(h.URL, "http")+"/x?y=1", DialOptions{Subprotocol: "-", Header: http.Header{"Authorization": {"Bearer A"}}})
	r, ok := errors.AsType[*RefusedError](err)
	if !ok || r.Status != 403 || string(r.Body) != "no" || r.Header.Get("X-Path") != "/x?y=1 Bearer A" {
		t.Errorf("%v %+v", err, r)
	}
	for _, bad := range []string{"http://x", "ws://127.0.0.1:0", "://"} {
		if _, err := Dial(context.Background(), bad, DialOptions{}); err == nil {
			t.Errorf("%s was dialled", bad)
		}
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, "ws://"+l.Addr().String(), DialOptions{}); err == nil {
		t.Error("no error")
	}
}

// TestTLS shows that a socket without a descriptor works from end to end.
func TestTLS(t *testing.T) {
	b := newBench(t, Config{})
	h := httptest.NewTLSServer(b)
	defer h.Close()
	c, err := Dial(context.Background(), "wss"+strings.TrimPrefix(h.URL, "https"), DialOptions{
		TLS: &tls.Config{RootCAs: h.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Drop()
	for _, n := range []int{1, 5000, 64 << 10} {
		s := strings.Repeat("z", n)
		if err := c.WriteText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if m, err := c.Read(); err != nil || string(m) != s {
			t.Fatalf("%d bytes: %v", len(m), err)
		}
	}
	if err := c.WriteText([]byte("\xff")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(); CloseCode(err) != 1007 {
		t.Error(err)
	}
	c.Drop()
	b.wantEnd(obs.CloseUTF8)
}
