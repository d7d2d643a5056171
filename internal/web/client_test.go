package web

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

func newClient(t *testing.T, base string, opts ClientOptions) *Client {
	t.Helper()
	c, err := NewClient(base, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientSpeaksToTheRouter(t *testing.T) {
	e := newEdge(t, nil)
	c := newClient(t, "http://"+e.serve(t)+"/", ClientOptions{MaxConns: 2})
	ctx := obs.WithCorrelation(t.Context(), "test-7")

	var out struct {
		ID    string `json:"id"`
		Limit int    `json:"limit"`
	}
	status, err := c.Do(ctx, "PUT", "/api/v1/notes/n1?limit=5", map[string]any{"title": "x"}, &out)
	if err != nil || status != 201 || out.ID != "n1" || out.Limit != 5 {
		t.Errorf("%d %v %+v", status, err, out)
	}
	status, err = c.Do(ctx, "PUT", "/api/v1/notes/n1", map[string]any{"titel": "x"}, &out)
	f := fault.From(err)
	if status != 400 || f.Code != fault.CodeUnknownField || len(f.Fields) != 1 || f.Fields[0].Name != "titel" {
		t.Errorf("%d %+v", status, f)
	}
	if _, err = c.Do(ctx, "POST", "/api/v1/fail", map[string]any{"how": "overloaded"}, nil); fault.From(err).RetryAfter != 1500*time.Millisecond {
		t.Errorf("%+v", err)
	}
	var who whoAnswer
	if _, err := c.As(obs.NewSecret(e.bearer(t, "ALICE"))).Do(ctx, "GET", "/api/v1/me", nil, &who); err != nil || who.UserID != "ALICE" {
		t.Errorf("%v %+v", err, who)
	}
	if _, err := c.Do(ctx, "GET", "/api/v1/me", nil, nil); !fault.Is(err, fault.CodeUnauthenticated) {
		t.Errorf("the copy's proof went to the original: %v", err)
	}
	a, err := c.Raw(ctx, "BREW", "/api/v1/notes", nil, nil)
	if err != nil || a.Status != 405 || a.Header.Get("X-Correlation-ID") != "test-7" {
		t.Errorf("%v %+v", err, a)
	}
}

func TestClientAgainstBadServers(t *testing.T) {
	stop := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/redirect":
			http.Redirect(w, req, "http://evil.example/", http.StatusFound)
		case "/big":
			_, _ = io.WriteString(w, strings.Repeat("a", 2000))
		case "/html":
			w.WriteHeader(http.StatusBadGateway)
		case "/nonsense":
			_, _ = io.WriteString(w, "nonsense")
		case "/slow":
			<-stop
		}
	}))
	defer srv.Close()
	defer close(stop)
	c := newClient(t, srv.URL, ClientOptions{Timeout: 200 * time.Millisecond, MaxResponse: 1000})
	var out struct{}
	for path, want := range map[string]fault.Code{
		"/redirect": fault.CodeInternal, "/big": fault.CodeTooLarge, "/html": fault.CodeInternal, "/nonsense": fault.CodeInternal, "/slow": fault.CodeTimeout,
	} {
		if _, err := c.Do(t.Context(), "GET", path+"?q=hush", nil, &out); fault.From(err) == nil || fault.CodeOf(err) != want || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Do(ctx, "GET", "/", nil, nil); !fault.Is(err, fault.CodeCanceled) {
		t.Errorf("canceled: %v", err)
	}
	srv2 := httptest.NewServer(http.NotFoundHandler())
	gone := newClient(t, srv2.URL, ClientOptions{})
	srv2.Close()
	if _, err := gone.Do(t.Context(), "GET", "/", nil, nil); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestClientRefusesOddAddresses(t *testing.T) {
	for _, base := range []string{"", "localhost:8080", "ftp://x", "http://", "http://user:hush@x", "http://a b"} {
		if _, err := NewClient(base, ClientOptions{}); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", base, err)
		}
	}
	c := newClient(t, "http://127.0.0.1:1", ClientOptions{})
	if _, err := c.Raw(t.Context(), "GET", "/%zz?q=hush", nil, nil); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("%v", err)
	}
}
