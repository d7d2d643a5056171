package e2e

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// peer is a client of the WebSocket that can send anything.
type peer struct {
	t  *testing.T
	c  net.Conn
	br *bufio.Reader
}

const (
	upgradeLines = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	versionLine  = "Sec-WebSocket-Version: 13\r\n"
	nonceLine    = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	protocolLine = "Sec-WebSocket-Protocol: nova.v1\r\n"
	goodUpgrade  = upgradeLines + versionLine + nonceLine + protocolLine
)

// peer opens a socket by hand; a person without an identity sends none.
func (p person) peer(t *testing.T, header string) *peer {
	t.Helper()
	c := p.n.dialTCP(t)
	q := &peer{t, c, bufio.NewReader(c)}
	if p.access != "" {
		header += "Authorization: Bearer " + p.access + "\r\n"
	}
	q.send("GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n" + goodUpgrade + header + "\r\n")
	res, err := http.ReadResponse(q.br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", res, err)
	}
	return q
}

// live is peer with the hello behind it.
func (p person) live(t *testing.T) *peer {
	t.Helper()
	q := p.peer(t, "")
	q.send(textFrame(`{"op":"hello","id":"1"}`))
	for {
		op, body, err := q.next()
		if err != nil || op == 8 {
			t.Fatalf("instead of live came %d %q %v", op, body, err)
		}
		if body == `{"op":"live"}` {
			return q
		}
	}
}

func (q *peer) send(parts ...string) {
	q.t.Helper()
	if _, err := io.WriteString(q.c, strings.Join(parts, "")); err != nil {
		q.t.Logf("the server did not take it all: %v", err)
	}
}

// rawFrame is a frame with any first byte, masked with zeros.
func rawFrame(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return string(b) + "\x00\x00\x00\x00" + payload
}

func textFrame(payload string) string { return rawFrame(0x81, payload) }

// next reads one frame of the server's.
func (q *peer) next() (op byte, payload string, err error) {
	var h [2]byte
	if _, err := io.ReadFull(q.br, h[:]); err != nil {
		return 0, "", err
	}
	n := uint64(h[1])
	switch n {
	case 126:
		var l [2]byte
		_, err = io.ReadFull(q.br, l[:])
		n = uint64(binary.BigEndian.Uint16(l[:]))
	case 127:
		var l [8]byte
		_, err = io.ReadFull(q.br, l[:])
		n = binary.BigEndian.Uint64(l[:])
	}
	if err != nil {
		return 0, "", err
	}
	body := make([]byte, n)
	_, err = io.ReadFull(q.br, body)
	return h[0] & 0x0f, string(body), err
}

// until reads up to the frame with that op.
func (q *peer) until(op string) string {
	q.t.Helper()
	for {
		kind, body, err := q.next()
		if err != nil || kind == 8 {
			q.t.Fatalf("instead of %s came %d %q %v", op, kind, body, err)
		}
		if strings.HasPrefix(body, `{"op":"`+op+`"`) {
			return body
		}
	}
}

// closed reads to the close frame, answers it, ends the connection, and gives
// the code: 0 if there was none.
func (q *peer) closed() int {
	q.t.Helper()
	defer func() { _ = q.c.Close() }()
	for {
		op, body, err := q.next()
		if err != nil {
			return 0
		}
		if op == 8 && len(body) >= 2 {
			q.send(rawFrame(0x88, body[:2]))
			return int(binary.BigEndian.Uint16([]byte(body)))
		}
	}
}

// idle answers pings until the connection ends, so that it ends for no reason of
// its own.
func (q *peer) idle() {
	go func() {
		_ = q.c.SetDeadline(time.Time{}) // the test's end closes it
		for {
			op, body, err := q.next()
			if err != nil {
				return
			}
			if op == 9 {
				q.send(rawFrame(0x8a, body))
			}
		}
	}()
}
