package web

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/token"
)

// edge is a router with one route of each kind, and what it logs.
type edge struct {
	obs    *obs.Obs
	group  *run.Group
	router *Router
	issuer *token.Issuer
	log    *lockedBuffer
	gone   chan error // what the handler of /api/v1/hang saw
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type noteBody struct {
	Title string            `json:"title" minLength:"1" maxLength:"8" doc:"What it is about." example:"Tea"`
	Count int               `json:"count,omitempty" minimum:"0" maximum:"10"`
	Kind  string            `json:"kind,omitempty" enum:"short,long"`
	Tags  []string          `json:"tags,omitempty" maxItems:"3"`
	Inner *noteInner        `json:"inner,omitempty"`
	Marks map[string]int64  `json:"marks,omitempty"`
	Proof obs.Secret        `json:"proof" required:"false" maxLength:"20"`
	Raw   json.RawMessage   `json:"raw,omitempty"`
	Until *time.Time        `json:"until,omitempty"`
	Small int32             `json:"small,omitempty"`
	Bytes []byte            `json:"bytes,omitempty"`
	Deep  []json.RawMessage `json:"deep,omitempty"`
}

type noteInner struct {
	A int        `json:"a"`
	B *noteInner `json:"b,omitempty"`
}

type noteInput struct {
	ID     string `path:"id" maxLength:"26"`
	Limit  int    `query:"limit"`
	Cursor string `query:"cursor" maxLength:"8"`
	Once   string `header:"Idempotency-Key" maxLength:"64"`
	Body   noteBody
}

type noteOutput struct {
	Status int
	Body   struct {
		ID    string   `json:"id" example:"01JD9XQ4ZB6T3N8V5WMR2C7KHE"`
		Title string   `json:"title"`
		Proof string   `json:"proof"`
		Items []string `json:"items"`
		Limit int      `json:"limit"`
	}
}

type listInput struct {
	Limit int    `query:"limit"`
	Q     string `query:"q" maxLength:"4"`
}

type whoOutput struct {
	Body struct {
		UserID  string `json:"user_id"`
		Refused bool   `json:"refused"`
		Address string `json:"address"`
	}
}

func newEdge(t testing.TB, change func(*Config)) *edge {
	t.Helper()
	e := &edge{log: &lockedBuffer{}, gone: make(chan error, 2)}
	o, err := obs.New(obs.Config{Out: e.log})
	if err != nil {
		t.Fatal(err)
	}
	public, private, _ := ed25519.GenerateKey(nil)
	keys := token.NewKeys()
	jwks := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","alg":"EdDSA","use":"sig","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	if err := keys.SetJWKS([]byte(jwks)); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Listener: "public"}
	if change != nil {
		change(&cfg)
	}
	e.obs, e.group, e.issuer = o, run.New(o), token.NewIssuer("k1", private)
	e.router = NewRouter(o, cfg, token.NewVerifier(o, keys, token.NewRevocations()))
	e.addRoutes()
	return e
}

func (e *edge) addRoutes() {
	r := e.router
	Register(r, Route{
		Service: obs.Messaging, Op: "note.put", Method: "PUT", Path: "/api/v1/notes/{id}", Access: Anyone, Summary: "Put a note",
		Status: 201, AlsoStatus: []int{200}, Errors: []fault.Code{fault.CodeConflict},
	}, putNote)
	Register(r, Route{Service: obs.Messaging, Op: "note.list", Method: "GET", Path: "/api/v1/notes"}, func(_ context.Context, in *listInput) (*noteOutput, error) {
		out := &noteOutput{}
		out.Body.Limit = in.Limit
		return out, nil
	})
	Register(r, Route{Service: obs.User, Op: "who.am_i", Method: "GET", Path: "/api/v1/me", Access: SignedIn}, who)
	Register(r, Route{Service: obs.User, Op: "who.maybe", Method: "GET", Path: "/api/v1/maybe", Access: Optional}, who)
	Register(r, Route{
		Service: obs.Auth, Op: "auth.login", Method: "POST", Path: "/api/v1/login",
		Limit: limit.New(e.obs, obs.LimitLoginsPerAddress, limit.Rate{PerSecond: 0.001, Burst: 2}),
	}, func(context.Context, *struct{}) (*struct{}, error) { return &struct{}{}, nil })
	Register(r, Route{Service: obs.Messaging, Op: "note.fail", Method: "POST", Path: "/api/v1/fail"}, failNote)
	Register(r, Route{Service: obs.Messaging, Op: "note.hang", Method: "GET", Path: "/api/v1/hang"}, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		e.gone <- nil
		<-ctx.Done()
		e.gone <- ctx.Err()
		return nil, fault.Wrap(fault.CodeUnavailable, ctx.Err(), "")
	})
	r.Handle(Route{Service: obs.Messaging, Op: "ws.connect", Method: "GET", Path: "/api/v1/ws", Access: Optional, Status: 101, Summary: "Upgrade"},
		http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Upgrade") == "" {
				Problem(w, req, fault.New(fault.CodeUpgradeRequired, ""))
				return
			}
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				Problem(w, req, err)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			_ = c.Close()
		}))
}

func putNote(_ context.Context, in *noteInput) (*noteOutput, error) {
	out := &noteOutput{}
	if in.Body.Count == 7 {
		out.Status = 200
	}
	out.Body.ID, out.Body.Title, out.Body.Limit = in.ID, in.Body.Title, in.Limit
	out.Body.Proof = in.Body.Proof.Reveal()
	return out, nil
}

func who(ctx context.Context, _ *struct{}) (*whoOutput, error) {
	out := &whoOutput{}
	if id, ok := token.From(ctx); ok {
		out.Body.UserID = id.UserID
	}
	out.Body.Refused, out.Body.Address = Refusal(ctx) != nil, ClientAddress(ctx)
	return out, nil
}

type failInput struct {
	Body struct {
		How string `json:"how"`
	}
}

func failNote(_ context.Context, in *failInput) (*struct{}, error) {
	switch in.Body.How {
	case "panic":
		panic(errors.New("index out of range"))
	case "plain":
		return nil, errors.New("disk sda1 is on fire")
	case "deadline":
		return nil, fmt.Errorf("query: %w", context.DeadlineExceeded)
	}
	code, _ := fault.ParseCode(in.Body.How)
	return nil, fault.Wrap(code, errors.New("hidden cause"), "").After(1500 * time.Millisecond)
}

// bearer is a proof of identity that verifies.
func (e *edge) bearer(t testing.TB, user string) string {
	t.Helper()
	s, err := e.issuer.Issue(token.Identity{UserID: user, SessionID: "S-" + user, DeviceID: "d", ExpiresAt: time.Now().Add(time.Minute)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s.Reveal()
}

// serve listens for real and gives the address.
func (e *edge) serve(t testing.TB) string {
	t.Helper()
	l, err := Serve(t.Context(), e.obs, e.group, ServeOptions{Name: "public", Addr: "127.0.0.1:0", Handler: e.router, StopTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	t.Cleanup(func() { e.group.Stop(context.Background()) })
	return l.Addr().String()
}

// call asks the router without a network.
func (e *edge) call(method, target, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, "/", strings.NewReader(body))
	if body == "" {
		req = httptest.NewRequest(method, "/", http.NoBody)
	}
	path, query, _ := strings.Cut(target, "?")
	req.URL.Path, req.URL.RawQuery = path, query
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Add(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	e.router.ServeHTTP(w, req)
	return w
}

// wantProblem checks everything that holds of every problem document.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, code fault.Code) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("status %d, no problem document: %q", w.Code, w.Body)
	}
	if w.Code != status || p.Status != status || p.Code != code.String() {
		t.Errorf("status %d, document %d %s; want %d %s (%s)", w.Code, p.Status, p.Code, status, code, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != problemType {
		t.Errorf("Content-Type %q", got)
	}
	if p.Type != "/errors/"+p.Code || p.Title == "" || p.Detail == "" || p.Retryable != code.Retryable() {
		t.Errorf("incomplete: %s", w.Body)
	}
	if p.CorrelationID == "" || p.CorrelationID != w.Header().Get(correlationHeader) {
		t.Errorf("correlation %q in the document, %q in the header", p.CorrelationID, w.Header().Get(correlationHeader))
	}
	return p
}

// wantMetric compares one series of a scrape. A request is counted after its
// answer was written, so the count may come a moment later.
func (e *edge) wantMetric(t *testing.T, series, want string) {
	t.Helper()
	value, ok := e.metric(series)
	for end := time.Now().Add(2 * time.Second); value != want && time.Now().Before(end); value, ok = e.metric(series) {
		runtime.Gosched()
	}
	switch {
	case !ok:
		t.Errorf("there is no series %s", series)
	case value != want:
		t.Errorf("%s is %s, want %s", series, value, want)
	}
}

func (e *edge) metric(series string) (value string, ok bool) {
	w := httptest.NewRecorder()
	e.obs.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value, true
		}
	}
	return "", false
}

func BenchmarkRegistered(b *testing.B) {
	e := newEdge(b, nil)
	proof := "Bearer " + e.bearer(b, "ALICE")
	for _, c := range []struct{ name, method, path, body string }{
		{"get", "GET", "/api/v1/me", ""}, {"put", "PUT", "/api/v1/notes/a?limit=3", `{"title":"x","count":3,"tags":["a","b"]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if w := e.call(c.method, c.path, c.body, "Authorization", proof); w.Code >= 300 {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
