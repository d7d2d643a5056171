package rpc

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAuth is an implementation whose one method each test writes.
type fakeAuth struct {
	authpb.UnimplementedAuthServer
	accounts func(context.Context, *authpb.AccountsRequest) (*authpb.AccountsResponse, error)
}

func (f *fakeAuth) Accounts(ctx context.Context, in *authpb.AccountsRequest) (*authpb.AccountsResponse, error) {
	return f.accounts(ctx, in)
}

func (f *fakeAuth) Keys(context.Context, *authpb.KeysRequest) (*authpb.KeysResponse, error) {
	return &authpb.KeysResponse{Jwks: []byte("{}")}, nil
}

// log is a buffer that several goroutines may write.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// rig is a process with an auth service.
type rig struct {
	obs    *obs.Obs
	group  *run.Group
	server *Server
	log    *log
	auth   *fakeAuth
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{log: &log{}, auth: &fakeAuth{}}
	var err error
	if r.obs, err = obs.New(obs.Config{Out: r.log}); err != nil {
		t.Fatal(err)
	}
	r.group = run.New(r.obs)
	r.server = NewServer(r.obs, r.group)
	authpb.RegisterAuthServer(r.server.Registrar(obs.Auth), r.auth)
	t.Cleanup(func() { r.group.Stop(context.Background()) })
	return r
}

// answer makes Accounts answer nothing, after doing fn.
func (r *rig) answer(fn func(context.Context, *authpb.AccountsRequest) error) {
	r.auth.accounts = func(ctx context.Context, in *authpb.AccountsRequest) (*authpb.AccountsResponse, error) {
		if err := fn(ctx, in); err != nil {
			return nil, err
		}
		return &authpb.AccountsResponse{}, nil
	}
}

func (r *rig) listen(t testing.TB) string { return r.listenWith(t, nil) }

func (r *rig) listenWith(t testing.TB, c *certs.Source) string {
	t.Helper()
	addr, err := r.server.Listen(context.Background(), "127.0.0.1:0", ListenConfig{Certificates: c})
	if err != nil {
		t.Fatal(err)
	}
	return addr.String()
}

// dial connects a second process, with metrics of its own.
func dial(t testing.TB, addrs ...string) (*Conn, *obs.Obs) {
	t.Helper()
	o, g := process(t, nil)
	return dialFrom(t, o, g, nil, addrs...), o
}

// process is one without services, that only calls.
func process(t testing.TB, l *log) (*obs.Obs, *run.Group) {
	t.Helper()
	cfg := obs.Config{}
	if l != nil {
		cfg.Out = l
	}
	o, err := obs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	t.Cleanup(func() { g.Stop(context.Background()) })
	return o, g
}

func dialFrom(t testing.TB, o *obs.Obs, g *run.Group, own *certs.Source, addrs ...string) *Conn {
	t.Helper()
	c, err := Dial(o, g, obs.Auth, addrs, DialConfig{Certificates: own})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// everyWay runs a test in one process, over TCP, and over TCP with mutual TLS:
// nothing may differ.
func everyWay(t *testing.T, test func(t *testing.T, r *rig, caller *obs.Obs, client authpb.AuthClient)) {
	t.Run("in process", func(t *testing.T) {
		r := newRig(t)
		test(t, r, r.obs, authpb.NewAuthClient(r.server.Conn(obs.Auth)))
	})
	t.Run("TCP", func(t *testing.T) {
		r := newRig(t)
		c, o := dial(t, r.listen(t))
		test(t, r, o, authpb.NewAuthClient(c))
	})
	t.Run("TLS", func(t *testing.T) {
		r, f := newRig(t), newFolder(t)
		o, g := process(t, nil)
		addr := r.listenWith(t, f.open(t, r.obs, r.group, obs.Auth))
		test(t, r, o, authpb.NewAuthClient(dialFrom(t, o, g, f.open(t, o, g, obs.Messaging), addr)))
	})
}

// soon is a context for what must not hang.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// series reads one counter or histogram count of a scrape.
func series(t testing.TB, o *obs.Obs, line string) string {
	t.Helper()
	w := httptest.NewRecorder()
	o.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for l := range bytes.Lines(w.Body.Bytes()) {
		if v, ok := bytes.CutPrefix(bytes.TrimSpace(l), []byte(line+" ")); ok {
			return string(v)
		}
	}
	t.Fatalf("no series %s", line)
	return ""
}
