package web

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// conn is an accepted connection. It knows when it was accepted and watches the
// heads of the requests for what net/http repairs silently: a Content-Length
// beside a Transfer-Encoding, and folded header lines. Both have been used to
// make a proxy and the server behind it see different requests (RFC 9112,
// sections 5.2 and 6.3).
type conn struct {
	net.Conn
	accepted time.Time
	suspect  atomic.Bool
	release  func()
	closing  sync.Once

	// The watch: only the goroutine that reads touches it.
	off  bool   // nothing more is watched
	skip int64  // bytes of a body that are still to come
	line []byte // the beginning of the present line
	head        // what this request's head has said so far
}

// head is what matters of a request's head.
type head struct {
	begun  bool // the request line has been seen
	sized  bool // there is a Content-Length
	chunks bool // there is a Transfer-Encoding
	length int64
}

type connKey struct{}

func connContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// AcceptedAt is when the connection of a request was accepted; zero outside a
// [Listener].
func AcceptedAt(ctx context.Context) time.Time {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		return c.accepted
	}
	return time.Time{}
}

// suspect says whether the connection of a request carried a head that has more
// than one reading.
func suspect(ctx context.Context) bool {
	c, ok := ctx.Value(connKey{}).(*conn)
	return ok && c.suspect.Load()
}

// Read is part of net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.off && n > 0 {
		c.watch(b[:n])
	}
	return n, err
}

// Close is part of net.Conn.
func (c *conn) Close() error {
	c.closing.Do(c.release)
	return c.Conn.Close()
}

// CloseWrite tells the client that there is no more to come; net/http looks for it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// watch follows the stream of requests: line by line through the heads, and
// over the bodies. After chunks it stops: the router lets no further request
// come from such a connection.
func (c *conn) watch(b []byte) {
	for len(b) > 0 && !c.off {
		if c.skip > 0 {
			n := min(c.skip, int64(len(b)))
			c.skip -= n
			b = b[n:]
			continue
		}
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			c.keep(b)
			return
		}
		c.keep(b[:end])
		c.endLine()
		b = b[end+1:]
	}
}

// longestLine is how much of a line is kept: enough for the fields that matter.
const longestLine = 256

func (c *conn) keep(b []byte) {
	if room := longestLine - len(c.line); room > 0 {
		c.line = append(c.line, b[:min(len(b), room)]...)
	}
}

func (c *conn) endLine() {
	line := bytes.TrimSuffix(c.line, []byte("\r"))
	switch {
	case len(line) == 0 && c.begun:
		c.endHead()
	case len(line) == 0: // empty lines before a request are allowed
	case !c.begun:
		c.head = head{begun: true}
	case line[0] == ' ' || line[0] == '\t':
		c.suspect.Store(true)
	default:
		c.field(line)
	}
	c.line = c.line[:0]
}

var (
	contentLength    = []byte("Content-Length")
	transferEncoding = []byte("Transfer-Encoding")
)

func (c *conn) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case bytes.EqualFold(name, contentLength):
		n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		if err != nil || n < 0 { // net/http refuses it, or it was too long to be kept
			c.suspect.Store(true)
		}
		c.sized, c.length = true, n
	case bytes.EqualFold(name, transferEncoding):
		c.chunks = true
	}
}

func (c *conn) endHead() {
	c.skip = max(c.length, 0)
	if c.chunks {
		c.off = true
		if c.sized {
			c.suspect.Store(true)
		}
	}
	c.head = head{}
	if c.off {
		c.line = nil
	}
}

// takeOver ends the watch and gives the bare connection, which can send many
// buffers with one call. The slot of a cap is free from then on.
func (c *conn) takeOver() net.Conn {
	c.off = true
	c.closing.Do(c.release)
	return c.Conn
}

// gate hands out connections as [conn], at most so many at once.
type gate struct {
	net.Listener
	slots  chan struct{} // nil: no cap
	closed chan struct{}
	once   sync.Once
}

func newGate(ln net.Listener, most int) *gate {
	g := &gate{Listener: ln, closed: make(chan struct{})}
	if most > 0 {
		g.slots = make(chan struct{}, most)
	}
	return g
}

// Accept is part of net.Listener. It waits for a slot first: what is not
// accepted waits in the kernel's queue.
func (g *gate) Accept() (net.Conn, error) {
	release := func() {}
	if g.slots != nil {
		select {
		case g.slots <- struct{}{}:
			release = func() { <-g.slots }
		case <-g.closed:
			return nil, net.ErrClosed
		}
	}
	c, err := g.Listener.Accept()
	if err != nil {
		release()
		return nil, err //nolint:wrapcheck // net/http compares it
	}
	return &conn{Conn: c, accepted: time.Now(), release: release}, nil
}

// Close is part of net.Listener.
func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Listener.Close()
}
