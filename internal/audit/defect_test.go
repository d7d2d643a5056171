package audit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/ws"
)

// defect is a proxy between the audit and a node that makes a sound node look
// broken. Each field that is set plants one thing.
type defect struct {
	request  func(w http.ResponseWriter, req *http.Request) (handled bool)
	answer   func(res *http.Response)
	metrics  func(text string) string
	toServer func(frame []byte) []byte // nil swallows the frame
	toClient func(frame []byte) []byte
	abrupt   bool // sockets end without a close frame

	n       *node
	sockets *ws.Server
}

func (d *defect) start(t *testing.T, n *node) (public, admin string) {
	t.Helper()
	d.n = n
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	d.sockets = ws.NewServer(o, g, ws.Config{})
	p := httptest.NewServer(http.HandlerFunc(d.public))
	a := httptest.NewServer(http.HandlerFunc(d.admin))
	t.Cleanup(func() {
		p.Close()
		a.Close()
		g.Stop(context.Background())
	})
	return p.URL, a.URL
}

// forward hands a request to the node behind the proxy.
func forward(base string, w http.ResponseWriter, req *http.Request, change func(*http.Response)) {
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", strings.TrimPrefix(base, "http://")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) },
		ModifyResponse: func(res *http.Response) error {
			if change != nil {
				change(res)
			}
			return nil
		},
	}
	p.ServeHTTP(w, req)
}

var startTime = regexp.MustCompile(`(?m)^process_start_time_seconds .*$`)

func (d *defect) admin(w http.ResponseWriter, req *http.Request) {
	_, base := d.n.urls()
	forward(base, w, req, func(res *http.Response) {
		if req.URL.Path != "/metrics" {
			return
		}
		b, _ := io.ReadAll(res.Body)
		// The restarted node is in the same process.
		out := startTime.ReplaceAllString(string(b), "process_start_time_seconds "+strings.TrimPrefix(base, "http://127.0.0.1:"))
		if d.metrics != nil {
			out = d.metrics(out)
		}
		res.Body = io.NopCloser(strings.NewReader(out))
		res.ContentLength = int64(len(out))
		res.Header.Set("Content-Length", strconv.Itoa(len(out)))
	})
}

func (d *defect) public(w http.ResponseWriter, req *http.Request) {
	base, _ := d.n.urls()
	switch {
	case d.request != nil && d.request(w, req):
	case strings.EqualFold(req.Header.Get("Upgrade"), "websocket") && (d.abrupt || d.toClient != nil || d.toServer != nil):
		d.socket(base, w, req)
	default:
		forward(base, w, req, d.answer)
	}
}

// socket joins two sockets frame by frame.
func (d *defect) socket(base string, w http.ResponseWriter, req *http.Request) {
	header := http.Header{}
	for _, name := range []string{"Authorization", "X-Correlation-Id"} {
		if v := req.Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	back, err := ws.Dial(context.Background(), "ws"+strings.TrimPrefix(base, "http")+"/api/v1/ws", ws.DialOptions{Header: header})
	if refused, ok := errors.AsType[*ws.RefusedError](err); ok {
		w.WriteHeader(refused.Status)
		_, _ = w.Write(refused.Body)
		return
	}
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	front, err := d.sockets.Upgrade(w, req, obs.NewCorrelation(), ws.Handler{
		Text: func(_ *ws.Conn, payload []byte) {
			if out := through(d.toServer, payload); out != nil {
				_ = back.WriteText(out)
			}
		},
		Written: func(*ws.Conn, []*ws.Frame, time.Time) {},
		Closed: func(_ *ws.Conn, why obs.CloseReason, _ []*ws.Frame) {
			_ = back.Close(int(ws.Code(why)), "")
		},
	})
	if err != nil {
		back.Drop()
		return
	}
	go d.pump(back, front)
}

func (d *defect) pump(back *ws.Client, front *ws.Conn) {
	defer back.Drop()
	for {
		frame, err := back.Read()
		if err != nil {
			front.Close(d.reasonOf(ws.CloseCode(err)), "")
			return
		}
		if out := through(d.toClient, frame); out != nil {
			front.Send(ws.NewFrame(bytes.Clone(out), ws.Control, front.AcceptedAt()))
		}
	}
}

func (d *defect) reasonOf(code int) obs.CloseReason {
	for r := obs.CloseReason(0); r.String() != ""; r++ {
		if int(ws.Code(r)) == code && !d.abrupt {
			return r
		}
	}
	return obs.CloseGone
}

func through(change func([]byte) []byte, frame []byte) []byte {
	if change == nil {
		return frame
	}
	return change(frame)
}

// replace is a defect of a text: one string instead of another.
func replace(old, with string) func(string) string {
	return func(s string) string { return strings.ReplaceAll(s, old, with) }
}

// all plants several defects of a text at once.
func all(each ...func(string) string) func(string) string {
	return func(s string) string {
		for _, f := range each {
			s = f(s)
		}
		return s
	}
}

// swap exchanges two strings.
func swap(a, b string) func(string) string {
	return strings.NewReplacer(a, b, b, a).Replace
}

// without swallows the frames that hold a text.
func without(text string) func([]byte) []byte {
	return func(frame []byte) []byte {
		if bytes.Contains(frame, []byte(text)) {
			return nil
		}
		return frame
	}
}

// frozen answers a set of lines for ever as they were when they were first seen.
func frozen(prefix string) func(string) string {
	var mu sync.Mutex
	first := map[string]string{}
	return func(text string) string {
		mu.Lock()
		defer mu.Unlock()
		var b strings.Builder
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, prefix) {
				series := line[:strings.LastIndexByte(line, ' ')]
				if _, ok := first[series]; !ok {
					first[series] = line
				}
				line = first[series]
			}
			b.WriteString(line)
		}
		return b.String()
	}
}
