package audit

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/ws"
)

// frame is what the audit reads of a frame from the server.
type frame struct {
	Op             string  `json:"op"`
	ID             string  `json:"id"`
	CID            string  `json:"cid"`
	ConversationID string  `json:"conversation_id"`
	Epoch          string  `json:"epoch"`
	Code           string  `json:"code"`
	Seq            int64   `json:"seq"`
	Message        message `json:"message"`
}

// socket is a WebSocket of a probe account.
type socket struct {
	c  *ws.Client
	nc net.Conn // under it, for bytes that no client would send
}

// frameWithin is how long the audit waits for a frame that must come.
const frameWithin = 10 * time.Second

func (t *target) socketURL() string {
	return "ws" + strings.TrimPrefix(strings.TrimSuffix(t.opts.Public, "/"), "http") + "/api/v1/ws"
}

// dial opens a socket without a hello; d may be nil for one without proof of
// identity. cid is the correlation ID of the upgrade, "" for none.
func (t *target) dial(ctx context.Context, d *device, cid string) (*socket, error) {
	header := http.Header{}
	if d != nil {
		header.Set("Authorization", "Bearer "+d.access.Reveal())
	}
	if cid != "" {
		header.Set("X-Correlation-ID", cid)
	}
	u, err := url.Parse(t.socketURL())
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	nc, err := t.connect(ctx, frameWithin)
	if err != nil {
		return nil, err
	}
	c, err := ws.NewClient(nc, u, ws.DialOptions{Header: header})
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	return &socket{c, nc}, nc.SetDeadline(time.Time{})
}

// connect opens a TCP or TLS connection to the public listener, all of whose
// use must be over within that time unless the deadline is moved.
func (t *target) connect(ctx context.Context, within time.Duration) (nc net.Conn, err error) {
	u, err := url.Parse(t.opts.Public)
	if err != nil {
		return nil, fmt.Errorf("public: %w", err)
	}
	d := net.Dialer{Timeout: within}
	if u.Scheme == "https" {
		secure := tls.Dialer{NetDialer: &d}
		nc, err = secure.DialContext(ctx, "tcp", withPort(u, "443"))
	} else {
		nc, err = d.DialContext(ctx, "tcp", withPort(u, "80"))
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return nc, nc.SetDeadline(time.Now().Add(within))
}

func withPort(u *url.URL, usual string) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), usual)
}

// resume is the part of hello that asks for what was missed.
type resume struct {
	Epoch         string           `json:"epoch"`
	Conversations map[string]int64 `json:"conversations"`
}

// connect opens a socket, says hello, and reads up to live. It gives what came
// before that, welcome first.
func (d *device) connect(ctx context.Context, from *resume, cid string) (*socket, []frame, error) {
	s, err := d.t.dial(ctx, d, cid)
	if err != nil {
		return nil, nil, err
	}
	hello := map[string]any{"op": "hello", "id": "h"}
	if from != nil {
		hello["resume"] = from
	}
	before, err := s.greet(hello)
	if err != nil {
		s.c.Drop()
		return nil, nil, err
	}
	return s, before, nil
}

func (s *socket) greet(hello any) (before []frame, err error) {
	if err := s.write(hello); err != nil {
		return nil, err
	}
	for {
		f, err := s.read(frameWithin)
		if err != nil {
			return nil, fmt.Errorf("waiting for live: %w", err)
		}
		if f.Op == "live" {
			return before, nil
		}
		before = append(before, f)
	}
}

func (s *socket) write(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.c.WriteText(raw)
}

func (s *socket) read(within time.Duration) (f frame, err error) {
	if err := s.c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return f, err
	}
	raw, err := s.c.Read()
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, fmt.Errorf("a frame from the server is no JSON: %w", err)
	}
	return f, nil
}

// errNone says that a frame did not come.
var errNone = errors.New("it did not come in time")

// await reads on to the first frame that fits.
func (s *socket) await(fits func(frame) bool) (frame, error) {
	for end := time.Now().Add(frameWithin); ; {
		left := time.Until(end)
		if left <= 0 {
			return frame{}, errNone
		}
		f, err := s.read(left)
		if err != nil {
			return f, err
		}
		if fits(f) {
			return f, nil
		}
	}
}

// event fits the message event of a client message identifier.
func event(client string) func(frame) bool {
	return func(f frame) bool { return f.Op == "message" && f.Message.ClientMsgID == client }
}

// answer fits the answer to a request.
func answer(id string) func(frame) bool {
	return func(f frame) bool { return f.ID == id }
}

// send writes a send frame; without a cid the server takes that of the socket.
func (s *socket) send(conversation, client, cid string) error {
	f := map[string]string{"op": "send", "id": client, "conversation_id": conversation, "client_msg_id": client, "body": "audit"}
	if cid != "" {
		f["cid"] = cid
	}
	return s.write(f)
}

func (s *socket) ack(conversation string, seq int64) error {
	return s.write(map[string]any{"op": "ack", "conversation_id": conversation, "seq": seq})
}

// bye closes in order and waits for the server's answer.
func (s *socket) bye() {
	defer s.c.Drop()
	_ = s.c.Close(1000, "") // reading on shows whether it arrived
	s.closed(frameWithin)
}

// closed reads to the end and gives the server's close code, 1006 for none.
func (s *socket) closed(within time.Duration) int {
	for end := time.Now().Add(within); ; {
		if err := s.c.SetReadDeadline(end); err != nil {
			return ws.CloseCode(err)
		}
		if _, err := s.c.Read(); err != nil {
			return ws.CloseCode(err)
		}
	}
}
