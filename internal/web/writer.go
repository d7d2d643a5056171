package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// recorder notes the status of an answer. It passes on everything else,
// connection take-over included.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader is part of http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write is part of http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Hijack is part of http.Hijacker. Connections are taken over for WebSockets
// only, so the answer counts as 101.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection: %w", err)
	}
	if r.status == 0 {
		r.status = http.StatusSwitchingProtocols
	}
	if own, ok := c.(*conn); ok {
		c = own.takeOver()
	}
	return c, rw, nil
}

// Unwrap lets http.ResponseController find what r does not have.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// code is the status of the answer, also when the handler said nothing.
func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// linger has the connection stay half open for a moment after the answer. Closed
// with a part of the body unread it would be reset, and the answer lost to a client
// that is still sending. net/http sees to that itself, unless the client asked for
// the connection to be closed; its only other way to be told is a limit of bodies.
func linger(w http.ResponseWriter) {
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}
