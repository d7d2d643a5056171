package ws

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it; nothing is protected by it
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
)

// Upgrade turns a request into a socket. An error is a fault and means that
// nothing was written: the caller answers it as any other (RFC 6455, 4.2).
// Headers that belong to the refusal are set on w.
func (s *Server) Upgrade(w http.ResponseWriter, r *http.Request, correlation obs.Correlation, h Handler) (*Conn, error) {
	begin := time.Now()
	s.entering.RLock()
	defer s.entering.RUnlock()
	if err := s.check(w, r); err != nil {
		return nil, err
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fault.Wrap(fault.CodeInternal, err, "")
	}
	c := &Conn{nc: nc, raw: descriptor(nc), h: h, id: id.New(), correlation: correlation, acceptedAt: begin}
	if s.cfg.Accepted != nil {
		if at := s.cfg.Accepted(r.Context()); !at.IsZero() {
			c.acceptedAt = at
		}
	}
	s.place(c)
	c.reader.in = buffered(rw.Reader)
	if err := c.welcome(r.Header.Get("Sec-WebSocket-Key")); err != nil {
		c.abort(obs.CloseGone) // reported as any other end
	}
	c.opened()
	s.add(c)
	c.startReading()
	return c, nil
}

// buffered copies what came right behind the request, so that the buffer it
// stands in can go.
func buffered(r *bufio.Reader) []byte {
	n := r.Buffered()
	if n == 0 {
		return nil
	}
	b, _ := r.Peek(n)
	return append([]byte(nil), b...)
}

func (c *Conn) opened() {
	if c.h.Opened != nil {
		defer c.guard("ws.opened")
		c.h.Opened(c)
	}
}

// welcome writes the answer to the handshake.
func (c *Conn) welcome(key string) error {
	b := make([]byte, 0, 512)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = append(b, acceptOf(key)...)
	b = append(b, "\r\nSec-WebSocket-Protocol: "...)
	b = append(b, c.srv.cfg.Subprotocol...)
	if c.correlation != "" {
		b = append(b, "\r\nX-Correlation-ID: "...)
		b = append(b, c.correlation...)
	}
	b = append(b, "\r\n\r\n"...)
	if err := c.nc.SetDeadline(time.Now().Add(c.srv.cfg.WriteWait)); err != nil {
		return fmt.Errorf("answer the handshake: %w", err)
	}
	if _, err := c.nc.Write(b); err != nil {
		return fmt.Errorf("answer the handshake: %w", err)
	}
	return c.nc.SetDeadline(time.Time{})
}

// acceptOf proves that the handshake was understood (RFC 6455, 4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// check refuses what must not be upgraded.
func (s *Server) check(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		return fault.New(fault.CodeMethodNotAllowed, "a WebSocket begins with GET")
	}
	if inURL(r.URL) {
		return fault.New(fault.CodeTokenInURL, "the address must not prove who you are: use the Authorization header or the hello frame")
	}
	if err := checkUpgrade(w, r); err != nil {
		return err
	}
	if err := s.checkOrigin(r); err != nil {
		return err
	}
	if !hasToken(r.Header, "Sec-Websocket-Protocol", s.cfg.Subprotocol, false) {
		return fault.New(fault.CodeBadSubprotocol, "offer Sec-WebSocket-Protocol: "+s.cfg.Subprotocol)
	}
	if s.stopping.Load() {
		return fault.New(fault.CodeUnavailable, "this node is stopping")
	}
	return nil
}

func checkUpgrade(w http.ResponseWriter, r *http.Request) error {
	switch {
	case r.ProtoMajor != 1 || r.ProtoMinor != 1:
		return fault.New(fault.CodeBadRequest, "a WebSocket begins with HTTP/1.1")
	case !hasToken(r.Header, "Upgrade", "websocket", true):
		return fault.New(fault.CodeBadRequest, "Upgrade: websocket is missing")
	case !hasToken(r.Header, "Connection", "upgrade", true):
		return fault.New(fault.CodeBadRequest, "Connection: Upgrade is missing")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return fault.New(fault.CodeBadRequest, "an upgrade has no body")
	}
	if v := r.Header["Sec-Websocket-Version"]; len(v) != 1 || v[0] != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		return fault.New(fault.CodeUpgradeRequired, "Sec-WebSocket-Version must be 13")
	}
	if k := r.Header["Sec-Websocket-Key"]; len(k) != 1 || !validNonce(k[0]) {
		return fault.New(fault.CodeBadRequest, "Sec-WebSocket-Key must be 16 bytes in base64, once")
	}
	return nil
}

func validNonce(s string) bool {
	var b [18]byte
	if len(s) != base64.StdEncoding.EncodedLen(16) {
		return false
	}
	n, err := base64.StdEncoding.Decode(b[:], []byte(s))
	return err == nil && n == 16
}

// checkOrigin asks about the page that connects. Browsers always send Origin and
// pages cannot change it; without it there is no page (RFC 6455, 10.2).
func (s *Server) checkOrigin(r *http.Request) error {
	o := r.Header["Origin"]
	if len(o) == 0 || len(o) == 1 && s.cfg.Origins != nil && s.cfg.Origins(o[0], r) {
		return nil
	}
	return fault.New(fault.CodeForbidden, "this origin may not connect")
}

// inURL says whether the query holds a proof of identity: it would end up in
// the logs of every proxy on the way.
func inURL(u *url.URL) bool {
	if u.RawQuery == "" {
		return false
	}
	q := u.Query()
	return q.Has("token") || q.Has("access_token") || q.Has("ticket")
}

// hasToken looks for one element of a header that is a comma-separated list.
func hasToken(h http.Header, name, want string, fold bool) bool {
	for _, line := range h[name] {
		for part := range strings.SplitSeq(line, ",") {
			part = strings.Trim(part, " \t")
			if part == want || fold && strings.EqualFold(part, want) {
				return true
			}
		}
	}
	return false
}
