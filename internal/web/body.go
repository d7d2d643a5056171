package web

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/fault"
)

// readBody reads the body of a request and checks it against what the operation
// takes. The body comes back as bytes; it is valid JSON of the right shape, or
// empty if the operation can do without.
func (ep *endpoint) readBody(w http.ResponseWriter, req *http.Request, want *shape, required bool) ([]byte, error) {
	if req.ContentLength == 0 {
		if required {
			return nil, fault.New(fault.CodeBadRequest, "The request needs a body: one JSON object.")
		}
		return nil, nil
	}
	if want != nil {
		if err := checkType(req.Header); err != nil {
			w.Header().Set("Connection", "close")
			return nil, err
		}
	}
	body, err := ep.readAll(w, req)
	if err != nil {
		return nil, err
	}
	if want == nil { // an operation without a body still tolerates an empty one
		if want = emptyShape; len(bytes.TrimSpace(body)) == 0 {
			return nil, nil
		}
	}
	if len(body) == 0 && !required {
		return nil, nil
	}
	if f := checkJSON(body, want); f != nil {
		return nil, f
	}
	return body, nil
}

// checkType refuses bodies that are not plain JSON (RFC 8259, section 11).
func checkType(h http.Header) error {
	if enc := h.Values("Content-Encoding"); len(enc) > 1 || len(enc) == 1 && !strings.EqualFold(enc[0], "identity") {
		return fault.New(fault.CodeUnsupportedMediaType, "Send the body without Content-Encoding.")
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/json" || len(h["Content-Type"]) != 1 {
		return fault.New(fault.CodeUnsupportedMediaType, "")
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return fault.New(fault.CodeUnsupportedMediaType, "Send the body in UTF-8.")
	}
	return nil
}

// readAll reads a body within the route's size. The deadline for it was set
// when the request came in, and is lifted when the body is complete: from then
// on the server reads only to see whether the client is still there.
func (ep *endpoint) readAll(w http.ResponseWriter, req *http.Request) ([]byte, error) {
	most := ep.route.MaxBody
	if req.ContentLength > most {
		return nil, ep.tooLarge(w, req, 0)
	}
	buf := bytes.NewBuffer(make([]byte, 0, max(req.ContentLength, 0)+bytes.MinRead))
	_, err := buf.ReadFrom(io.LimitReader(req.Body, most+1))
	switch {
	case int64(buf.Len()) > most:
		return nil, ep.tooLarge(w, req, most+1)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fault.Wrap(fault.CodeTimeout, err, "The body did not arrive in time.")
	case err != nil:
		w.Header().Set("Connection", "close")
		return nil, fault.Wrap(fault.CodeBadRequest, err, "The body ended early or is not framed as HTTP/1.1 demands.")
	}
	wasRead(w, req)
	return buf.Bytes(), nil
}

// wasRead notes that the whole body has come.
func wasRead(w http.ResponseWriter, req *http.Request) {
	if x := exchangeFrom(req.Context()); x != nil {
		x.unread = false
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // unsupported in tests without a connection
}

// tooLarge refuses a body. A client that is still sending when the connection closes
// may lose the answer, so what is up to twice of what the route takes is read and
// forgotten. read is how much of it was read already.
func (ep *endpoint) tooLarge(w http.ResponseWriter, req *http.Request, read int64) error {
	most, ended := ep.route.MaxBody, false
	if req.ContentLength <= 2*most && req.Header.Get("Expect") == "" { // else it waits for leave to send
		_, err := io.CopyN(io.Discard, req.Body, 2*most+1-read)
		ended = errors.Is(err, io.EOF)
	}
	if ended {
		wasRead(w, req)
	} else {
		w.Header().Set("Connection", "close")
	}
	return fault.Newf(fault.CodeTooLarge, "The body may have %d bytes.", most)
}
