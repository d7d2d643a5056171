package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// exchangeRaw writes bytes to a fresh connection and reads all answers until
// the server closes it.
func exchangeRaw(t *testing.T, addr, request string) []int {
	t.Helper()
	c := dialRaw(t, addr)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	var got []int
	for r := bufio.NewReader(c); ; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return got
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		got = append(got, resp.StatusCode)
	}
}

// TestARefusalReachesWhoIsStillSending: a client that asked for the connection to be
// closed gets the answer to a body that nobody reads, and can still send then: many
// believe the reset of a connection before they look for an answer.
func TestARefusalReachesWhoIsStillSending(t *testing.T) {
	c := dialRaw(t, newEdge(t, nil).serve(t))
	half := strings.Repeat(" ", 100_000)
	if _, err := io.WriteString(c, put+"Connection: close\r\nContent-Length: 200000\r\n\r\n"+half); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 413 ") {
		t.Errorf("got %.20q, %v", answer, err)
	}
	if _, err := io.WriteString(c, half); err != nil {
		t.Errorf("the connection is reset: %v", err)
	}
}

func dialRaw(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil { // a hang fails the test
		t.Fatal(err)
	}
	return c
}

const (
	second = "GET /api/v1/notes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" // a smuggled request
	put    = "PUT /api/v1/notes/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
)

func TestRawRequests(t *testing.T) {
	e := newEdge(t, func(c *Config) { c.BodyTimeout = 300 * time.Millisecond })
	addr := e.serve(t)
	for _, c := range []struct{ name, request, want string }{
		{"good, then good", put + "Content-Length: 13\r\n\r\n" + good + second, "[201 200]"},
		{"pipelined, folded in the body", put + "Content-Length: 17\r\n\r\n{\r\n \"title\":\"x\"\n}" + second, "[201 200]"},
		{"length and chunks", put + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n" + good + "\r\n0\r\n\r\n" + second, "[400]"},
		{"chunks and length 0", put + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\nd\r\n" + good + "\r\n0\r\n\r\n" + second, "[400]"},
		{"padded length", put + "Content-Length:" + strings.Repeat(" ", 400) + "13\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, "[400]"},
		{"second request ambiguous", put + "Content-Length: 13\r\n\r\n" + good + put + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, "[400]"},
		{"folded line", "GET /api/v1/notes HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n" + second, "[400]"},
		{"line folded by a tab", "GET /api/v1/notes HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\tContent-Length: 5\r\n\r\n" + second, "[400]"},
		{"chunks alone close", put + "Transfer-Encoding: chunked\r\n\r\nd\r\n" + good + "\r\n0\r\n\r\n" + second, "[201]"},
		{"bad chunk", put + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + good + "\r\n0\r\n\r\n" + second, "[400]"},
		{"negative chunk", put + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\n" + second, "[400]"},
		{"two lengths", put + "Content-Length: 13\r\nContent-Length: 4\r\n\r\n" + good + second, "[400]"},
		{"negative length", put + "Content-Length: -13\r\n\r\n" + good + second, "[400]"},
		{"other encoding", put + "Transfer-Encoding: gzip\r\n\r\n" + good + second, "[501]"},
		{"space before the colon", put + "Content-Length : 13\r\n\r\n" + good + second, "[400]"},
		{"no host", "GET /api/v1/notes HTTP/1.1\r\n\r\n" + second, "[400]"},
		{"two hosts", "GET /api/v1/notes HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + second, "[400]"},
		{"other host", "GET /api/v1/notes HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "[200]"},
		{"absolute form", "GET http://evil.example/api/v1/notes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "[200]"},
		{"HTTP/1.0, pipelined", "GET /api/v1/notes HTTP/1.0\r\n\r\n" + second, "[200]"},
		{"correlation with CR LF", "GET /api/v1/notes HTTP/1.1\r\nHost: x\r\nX-Correlation-ID: a\r\nX-B: c\r\nConnection: close\r\n\r\n", "[200]"},
		{"64 KiB of head", "GET /api/v1/notes HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", "[431]"},
		{"200 fields", "GET /api/v1/notes HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 200) + "\r\n" + second, "[431]"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "[404]"},
		{"CONNECT to a host", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\nConnection: close\r\n\r\n", "[405]"},
		{"CONNECT to a path", "CONNECT /api/v1/notes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "[405]"},
		{"%2f", "GET /api%2fv1/notes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "[404]"},
		{"%2e%2e", "PUT /api/v1/notes/%2e%2e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "[404]"},
		{"%00", "PUT /api/v1/notes/%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "[404]"},
		{"emoji in a path", "PUT /api/v1/notes/%F0%9F%91%8D HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 13\r\nConnection: close\r\n\r\n" + good, "[201]"},
		{"body never ends", put + "Content-Length: 13\r\n\r\n{", "[408]"},
		{"chunks never end", put + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "[408]"},
		{"unread body never ends", "POST /api/v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", "[404]"},
		{"declared too large", put + "Content-Length: 99999999999\r\n\r\n", "[413]"},
		{"a little too large, pipelined", put + "Content-Length: 70000\r\n\r\n" + strings.Repeat(" ", 70000) + second, "[413 200]"},
		{"twice too large", put + "Content-Length: 140000\r\n\r\n", "[413]"},
		{"a little too large, waits for leave", put + "Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n", "[413]"},
		{"chunks too large", put + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("fff\r\n"+strings.Repeat(" ", 0xfff)+"\r\n", 20) + "0\r\n\r\n", "[413]"},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "[404]"},
		{"no HTTP", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", "[400]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := fmt.Sprint(exchangeRaw(t, addr, c.request)); got != c.want {
				t.Errorf("answers %s, want %s", got, c.want)
			}
		})
	}
}

func TestUpgradeIsTakenOver(t *testing.T) {
	e := newEdge(t, nil)
	addr := e.serve(t)
	got := exchangeRaw(t, addr, "GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	if fmt.Sprint(got) != "[101]" {
		t.Fatalf("answers %v", got)
	}
	e.group.Stop(t.Context()) // so that the request has been counted
	e.wantMetric(t, `http_requests_total{method="GET",route="/api/v1/ws",status="1xx"}`, "1")
	e.wantMetric(t, `http_request_duration_seconds_count{route="/api/v1/ws"}`, "0")
}

func TestClientThatGoesAwayCancelsAndIsNoServerFault(t *testing.T) {
	e := newEdge(t, nil)
	c := dialRaw(t, e.serve(t))
	if _, err := io.WriteString(c, "GET /api/v1/hang HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-e.gone
	_ = c.Close()
	if err := <-e.gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler saw %v", err)
	}
	e.group.Stop(t.Context())
	e.wantMetric(t, `http_requests_total{method="GET",route="/api/v1/hang",status="5xx"}`, "0")
	e.wantMetric(t, `http_requests_total{method="GET",route="/api/v1/hang",status="4xx"}`, "1")
	e.wantMetric(t, `http_failures_total{code="canceled"}`, "1")
}

func TestListenerBindsInServeAndAnswersAfterStart(t *testing.T) {
	e := newEdge(t, nil)
	l, err := Serve(t.Context(), e.obs, e.group, ServeOptions{Name: "public", Addr: "127.0.0.1:0", Handler: e.router, MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Serve(t.Context(), e.obs, e.group, ServeOptions{Name: "other", Addr: l.Addr().String(), Handler: e.router}); err == nil {
		t.Error("a bound address was bound again")
	}
	c := dialRaw(t, l.Addr().String()) // the kernel accepts: bound already
	l.Start()
	l.Start()
	_, _ = io.WriteString(c, second)
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	if report := e.group.Stop(t.Context()); report.Err() != nil || report.GoroutinesLeft != 0 {
		t.Errorf("stop: %+v", report)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the port still answers after the stop")
	}
}

func TestListenerThatNeverStartedStops(t *testing.T) {
	e := newEdge(t, nil)
	l, err := Serve(t.Context(), e.obs, e.group, ServeOptions{Name: "public", Addr: "127.0.0.1:0", Handler: e.router})
	if err != nil {
		t.Fatal(err)
	}
	if report := e.group.Stop(t.Context()); report.Err() != nil {
		t.Error(report.Err())
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the port is still bound")
	}
}

func TestStopWaitsThenCuts(t *testing.T) {
	e := newEdge(t, nil)
	l, err := Serve(t.Context(), e.obs, e.group, ServeOptions{Name: "public", Addr: "127.0.0.1:0", Handler: e.router, StopTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	c := dialRaw(t, l.Addr().String())
	_, _ = io.WriteString(c, "GET /api/v1/hang HTTP/1.1\r\nHost: x\r\n\r\n")
	<-e.gone
	report := e.group.Stop(t.Context())
	if report.Err() == nil {
		t.Error("a request was cut off and the report does not say so")
	}
	if err := <-e.gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler saw %v", err)
	}
}

func TestMaxConnsLetsTheNextInWhenOneLeaves(t *testing.T) {
	e := newEdge(t, nil)
	l, err := Serve(t.Context(), e.obs, e.group, ServeOptions{Name: "public", Addr: "127.0.0.1:0", Handler: e.router, MaxConns: 1, StopTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	t.Cleanup(func() { e.group.Stop(context.Background()) })
	first, next := dialRaw(t, l.Addr().String()), dialRaw(t, l.Addr().String())
	_, _ = io.WriteString(first, "GET /api/v1/hang HTTP/1.1\r\nHost: x\r\n\r\n")
	<-e.gone
	_, _ = io.WriteString(next, second)
	_ = first.Close()
	<-e.gone
	if resp, err := http.ReadResponse(bufio.NewReader(next), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v %v", resp, err)
	}
}

func TestComplaintsOfTheServerPassTheRedactor(t *testing.T) {
	e := newEdge(t, nil)
	l, err := Serve(t.Context(), e.obs, e.group, ServeOptions{Name: "public", Addr: "127.0.0.1:0", Handler: e.router})
	if err != nil {
		t.Fatal(err)
	}
	l.server.ErrorLog.Printf("http: bad token from %s", "192.0.2.1:1")
	if log := e.log.String(); strings.Contains(log, "token") || !strings.Contains(log, "192.0.2.1") || !strings.Contains(log, `"service":"nova"`) {
		t.Errorf("log: %s", log)
	}
	e.group.Stop(t.Context())
}

func TestAcceptedAtIsBeforeTheRequest(t *testing.T) {
	e := newEdge(t, nil)
	var at time.Time
	e.router.Handle(Route{Service: obs.Process, Op: "test.at", Method: "GET", Path: "/at"}, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		at = AcceptedAt(req.Context())
	}))
	begin := time.Now()
	exchangeRaw(t, e.serve(t), "GET /at HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if at.Before(begin) || at.After(time.Now()) {
		t.Errorf("accepted at %v, begun at %v", at, begin)
	}
}

func FuzzCorrelation(f *testing.F) {
	for _, s := range []string{"test-123", "", "a b", strings.Repeat("a", 65), "é", `{"a":1}`, "~opaque", "a\x00"} {
		f.Add(s)
	}
	e := newEdge(f, nil)
	f.Fuzz(func(t *testing.T, sent string) {
		w := e.call("GET", "/api/v1/notes", "", correlationHeader, sent)
		want, ok := obs.ParseCorrelation(sent)
		got := w.Header().Get(correlationHeader)
		if _, valid := obs.ParseCorrelation(got); !valid || w.Code != 200 {
			t.Fatalf("status %d, correlation %q", w.Code, got)
		}
		if ok != (got == string(want)) && sent != "" {
			t.Errorf("%q was sent, %q came back", sent, got)
		}
	})
}
