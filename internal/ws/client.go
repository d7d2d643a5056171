package ws

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Client is the other end of a socket, for load generation and tests. It repairs
// nothing: no reconnect, no queue, one write for each message. Read and Write
// need no allocation for each message. One goroutine may read while others write.
type Client struct {
	nc net.Conn
	br *bufio.Reader
	in []byte

	mu       sync.Mutex // guards what follows
	out      []byte
	saidBye  bool
	response http.Header
}

// DialOptions are the parts of a handshake that vary. The zero value offers nova.v1.
type DialOptions struct {
	Header      http.Header // sent with the request
	Subprotocol string      // default "nova.v1"; "-" offers none
	ReadBuffer  int         // bytes; default 4096
	TLS         *tls.Config // for wss
}

// RefusedError is an answer to the handshake other than an upgrade.
type RefusedError struct {
	Status int
	Header http.Header
	Body   []byte // at most 64 KiB
}

// Error gives the status.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("upgrade refused: %d %s", e.Status, http.StatusText(e.Status))
}

// CloseError is the server's close frame. A Code of 0 means it had none.
type CloseError struct {
	Code int
	Text string
}

// Error gives the code and the text.
func (e *CloseError) Error() string {
	return fmt.Sprintf("closed by the server: %d %s", e.Code, e.Text)
}

// Resumable says whether the same client should connect again and go on
// (protocol, close codes). The absence of a close frame is resumable too.
func (e *CloseError) Resumable() bool {
	switch e.Code {
	case 0, 1001, 1012, 1013:
		return true
	}
	return e.Code >= 4000 && e.Code < 4400
}

// CloseCode is the code of the server's close frame in err: 0 if it was an empty
// one, 1006 if err is something else (RFC 6455, 7.1.5).
func CloseCode(err error) int {
	if e, ok := errors.AsType[*CloseError](err); ok {
		return e.Code
	}
	return 1006
}

// Dial opens a ws or wss address. Its error is a [RefusedError] when the server
// answered with something else than an upgrade.
func Dial(ctx context.Context, address string, opts DialOptions) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	nc, err := dialTCP(ctx, u, opts)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	c, err := NewClient(nc, u, opts)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

func dialTCP(ctx context.Context, u *url.URL, opts DialOptions) (net.Conn, error) {
	port := u.Port()
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss":
		return nil, fmt.Errorf("scheme %q is neither ws nor wss", u.Scheme)
	case port == "" && u.Scheme == "ws":
		port = "80"
	case port == "":
		port = "443"
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "wss" {
		d := tls.Dialer{Config: opts.TLS}
		return d.DialContext(ctx, "tcp", address)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// NewClient makes the handshake on an open connection. On error the connection
// is the caller's to close.
func NewClient(nc net.Conn, u *url.URL, opts DialOptions) (*Client, error) {
	orInt(&opts.ReadBuffer, 4096)
	orString(&opts.Subprotocol, "nova.v1")
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails: see crypto/rand
	accept := base64.StdEncoding.EncodeToString(nonce[:])
	if _, err := nc.Write(request(u, opts, accept)); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	br := bufio.NewReaderSize(nc, opts.ReadBuffer)
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodGet})
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return nil, &RefusedError{resp.StatusCode, resp.Header, body}
	}
	if resp.Header.Get("Sec-WebSocket-Accept") != acceptOf(accept) {
		return nil, errors.New("handshake: the answer does not belong to the request")
	}
	return &Client{nc: nc, br: br, response: resp.Header}, nil
}

func request(u *url.URL, opts DialOptions, nonce string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
		u.RequestURI(), u.Host, nonce)
	if opts.Subprotocol != "-" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", opts.Subprotocol)
	}
	_ = opts.Header.Write(&b) // a strings.Builder takes everything
	b.WriteString("\r\n")
	return []byte(b.String())
}

// Response is the header of the answer to the handshake.
func (c *Client) Response() http.Header { return c.response }

// SetReadDeadline bounds the reads that follow.
func (c *Client) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// WriteText writes one message with one system call.
func (c *Client) WriteText(p []byte) error { return c.write(opText, p) }

// Ping writes a ping with up to 125 bytes.
func (c *Client) Ping(p []byte) error { return c.write(opPing, p) }

// Close begins or ends the closing handshake with a code; 0 sends none. Read on
// until the server's close frame for an end in order, then Drop.
func (c *Client) Close(code int, text string) error {
	var p []byte
	if code != 0 {
		p = append(binary.BigEndian.AppendUint16(nil, uint16(code)), clip(text)...)
	}
	return c.write(opClose, p)
}

// Drop ends the TCP connection at once. It leaves nothing behind: no handshake,
// and no TIME_WAIT, so that many can be dropped and come again.
func (c *Client) Drop() {
	if t, ok := c.nc.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.nc.Close()
}

func (c *Client) write(op byte, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op == opClose {
		if c.saidBye {
			return nil
		}
		c.saidBye = true
	}
	c.out = appendMasked(c.out[:0], op, p, mrand.Uint32())
	if _, err := c.nc.Write(c.out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// appendMasked appends a client's frame.
func appendMasked(b []byte, op byte, p []byte, mask uint32) []byte {
	b = binary.LittleEndian.AppendUint32(appendHeader(b, op, len(p), 0x80), mask)
	at := len(b)
	b = append(b, p...)
	unmask(b[at:], mask)
	return b
}

// Read gives the next message, valid until the next call. It answers pings and
// the server's close frame; the latter ends it with a [CloseError].
func (c *Client) Read() ([]byte, error) {
	c.in = c.in[:0]
	for {
		fin, op, n, err := c.header()
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		at := len(c.in)
		if err := c.payload(n); err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if op&0x8 == 0 {
			if fin {
				return c.in, nil
			}
			continue
		}
		if err := c.control(op, c.in[at:]); err != nil {
			return nil, err
		}
		c.in = c.in[:at]
	}
}

func (c *Client) control(op byte, p []byte) error {
	switch op {
	case opPing:
		return c.write(opPong, p)
	case opClose:
		e := &CloseError{}
		if len(p) >= 2 {
			e.Code, e.Text = int(binary.BigEndian.Uint16(p)), string(p[2:])
		}
		_ = c.write(opClose, p[:min(len(p), 2)]) // the server may be gone already
		return e
	}
	return nil
}

// maxFromServer is the longest frame a client takes; the server's own are far
// shorter.
const maxFromServer = 16 << 20

func (c *Client) header() (fin bool, op byte, n int, err error) {
	b, err := c.next(2)
	if err != nil {
		return false, 0, 0, err
	}
	fin, op = b[0]&finBit != 0, b[0]&0x0f
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 {
		return false, 0, 0, errors.New("the server set a reserved bit or masked a frame")
	}
	size := uint64(b[1])
	switch size {
	case 126:
		if b, err = c.next(2); err == nil {
			size = uint64(binary.BigEndian.Uint16(b))
		}
	case 127:
		if b, err = c.next(8); err == nil {
			size = binary.BigEndian.Uint64(b)
		}
	}
	if err == nil && size > maxFromServer {
		err = errors.New("the server announced an oversized frame")
	}
	return fin, op, int(size), err
}

// next gives the next few bytes, valid until the next read.
func (c *Client) next(n int) ([]byte, error) {
	b, err := c.br.Peek(n)
	if err != nil {
		return nil, err
	}
	_, err = c.br.Discard(n)
	return b, err
}

// payload appends n bytes to what has been read of the message.
func (c *Client) payload(n int) error {
	at := len(c.in)
	if cap(c.in) < at+n {
		c.in = append(make([]byte, 0, (at+n)*3/2), c.in...)
	}
	c.in = c.in[:at+n]
	_, err := io.ReadFull(c.br, c.in[at:])
	return err
}
