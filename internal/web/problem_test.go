package web

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/fault"
)

func TestEveryCodeHasAStatusThatFitsItsKind(t *testing.T) {
	if len(statuses) != len(fault.Codes()) {
		t.Fatalf("%d statuses for %d codes", len(statuses), len(fault.Codes()))
	}
	for _, c := range fault.Codes() {
		status := StatusOf(c)
		if status < 400 || status > 599 {
			t.Errorf("%s has status %d", c, status)
		}
		serverSide := c.Kind() == fault.Internal || c.Kind() == fault.Unavailable
		if (status >= 500) != serverSide {
			t.Errorf("%s, kind %s, has status %d", c, c.Kind(), status)
		}
		e := newEdge(t, nil)
		p := wantProblem(t, e.call("POST", "/api/v1/fail", `{"how":"`+c.String()+`"}`), status, c)
		if p.Detail == "" || strings.Contains(p.Detail, "hidden") || p.RetryAfterMS != 1500 {
			t.Errorf("%s: %+v", c, p)
		}
	}
	if StatusOf(fault.Code(200)) != 500 {
		t.Error("a value outside the set is not 500")
	}
}

func TestRetryFields(t *testing.T) {
	e := newEdge(t, nil)
	for _, c := range []struct {
		how              string
		retry, rateLimit string
	}{
		{"login_throttled", "2", `"login_throttled";r=0;t=2`},
		{"auth_busy", "2", ""},
		{"storage_full", "2", ""},
	} {
		w := e.call("POST", "/api/v1/fail", `{"how":"`+c.how+`"}`)
		if got := w.Header().Get("Retry-After"); got != c.retry {
			t.Errorf("%s: Retry-After %q", c.how, got)
		}
		if got := w.Header().Get("RateLimit"); got != c.rateLimit {
			t.Errorf("%s: RateLimit %q", c.how, got)
		}
	}
	if got := retryAfter(fault.New(fault.CodeUnavailable, "")); got != time.Second {
		t.Errorf("unavailable without a hint: %v", got)
	}
}

func TestInternalErrorsSayNothing(t *testing.T) {
	e := newEdge(t, nil)
	w := e.call("POST", "/api/v1/fail", `{"how":"plain"}`, correlationHeader, "test-123", "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	p := wantProblem(t, w, 500, fault.CodeInternal)
	if strings.Contains(w.Body.String(), "fire") || p.CorrelationID != "test-123" {
		t.Errorf("document: %s", w.Body)
	}
	log := e.log.String()
	for _, part := range []string{"disk sda1 is on fire", `"correlation_id":"test-123","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`, `"op":"note.fail"`, `"status":500`, `"service":"messaging"`, `"level":"ERROR"`} {
		if !strings.Contains(log, part) {
			t.Errorf("the log lacks %s:\n%s", part, log)
		}
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	e := newEdge(t, nil)
	w := e.call("POST", "/api/v1/fail", `{"how":"panic"}`, correlationHeader, "test-9")
	wantProblem(t, w, 500, fault.CodeInternal)
	e.wantMetric(t, `panics_total{site="http"}`, "1")
	e.wantMetric(t, `http_failures_total{code="internal"}`, "1")
	if log := e.log.String(); !strings.Contains(log, "caught a panic") || strings.Count(log, "test-9") < 2 {
		t.Errorf("log: %s", log)
	}
}

func TestDeadlineIsATimeout(t *testing.T) {
	wantProblem(t, newEdge(t, nil).call("POST", "/api/v1/fail", `{"how":"deadline"}`), 408, fault.CodeTimeout)
	e := newEdge(t, func(c *Config) { c.HandlerTimeout = 1 })
	w := e.call("GET", "/api/v1/hang", "")
	<-e.gone
	if err := <-e.gone; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the handler saw %v", err)
	}
	wantProblem(t, w, 503, fault.CodeUnavailable)
}

func TestGoneClientIsNoServerFault(t *testing.T) {
	for _, code := range []fault.Code{fault.CodeInternal, fault.CodeUnavailable, fault.CodeTimeout, fault.CodeNotFound} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := httptest.NewRecorder()
		Problem(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil), fault.New(code, ""))
		want := statusGone
		if code == fault.CodeNotFound {
			want = 404
		}
		if w.Code != want {
			t.Errorf("%s: status %d, want %d", code, w.Code, want)
		}
	}
}

func TestProblemSurvivesADetailThatIsNoText(t *testing.T) {
	w := httptest.NewRecorder()
	Problem(w, httptest.NewRequest("GET", "/", nil), fault.New(fault.CodeConflict, "\xff"))
	if w.Code != 409 || !strings.Contains(w.Body.String(), `"code":"conflict"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
