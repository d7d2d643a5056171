package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/rpc"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/web"
	"github.com/nova-chat/nova/test/servers"
)

// lines is a log that several loggers write to.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// everything is what all tests of this run have logged.
var everything lines

func TestMain(m *testing.M) {
	code := m.Run()
	if bad := regexp.MustCompile(`.*(password|secret|token|key|credential).*`).FindString(everything.String()); bad != "" {
		fmt.Fprintln(os.Stderr, "a line of the log would be found by the literal search:", bad)
		code = 1
	}
	if err := goleak.Find(servers.Running()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// rig is auth as it stands in a process: real store, router and calls.
type rig struct {
	t       *testing.T
	dir     string
	log     *lines
	obs     *obs.Obs
	group   *run.Group
	db      *sqldb.DB
	svc     *Service
	router  *web.Router
	client  authpb.AuthClient
	revoked *token.Revocations
	events  chan bus.Envelope // what the outbox has published
}

func cheap() Config {
	fast := limit.Rate{PerSecond: 1e6, Burst: 1e6}
	return Config{
		LoginsPerAddress: fast, RegistrationsPerAddress: fast,
		Hashing: HashConfig{MemoryKiB: 64, Passes: 1, Slots: 4, Queue: 64, Wait: time.Minute},
	}
}

func newRig(t *testing.T, cfg Config) *rig { return newRigIn(t, t.TempDir(), cfg) }

func newRigIn(t *testing.T, dir string, cfg Config) *rig {
	t.Helper()
	return newNode(t, node{dir: dir}, cfg)
}

// node says where a rig stands. With a seal it takes its database for shared.
type node struct{ dir, url, seal string }

func (n node) database() string {
	if n.url != "" {
		return n.url
	}
	return "sqlite:" + filepath.Join(n.dir, "auth.db")
}

func newNode(t *testing.T, n node, cfg Config) *rig {
	t.Helper()
	dir := n.dir
	r := &rig{t: t, dir: dir, log: &lines{}, revoked: token.NewRevocations(), events: make(chan bus.Envelope, 1000)}
	var err error
	r.obs, err = obs.New(obs.Config{Out: both{r.log, &everything}})
	r.must(err)
	r.group = run.New(r.obs)
	t.Cleanup(func() {
		if rep := r.group.Stop(context.Background()); rep.Err() != nil || rep.GoroutinesLeft != 0 {
			t.Errorf("stop: %v, left %v", rep.Err(), rep.Left)
		}
	})
	ctx := t.Context()
	r.db, err = sqldb.Open(ctx, r.obs, r.group, sqldb.Config{Service: obs.Auth, URL: n.database()})
	r.must(err)
	ob := outbox.New(r.obs, r.group, r.db, outbox.Config{Service: obs.Auth, Sinks: []outbox.Sink{{Name: "test", Publish: r.take}}})
	r.must(ob.Migrate(ctx))
	r.svc, err = New(Deps{Obs: r.obs, Group: r.group, DB: r.db, Outbox: ob, KeysDir: filepath.Join(dir, "keys"), Seal: obs.NewSecret(n.seal), Revocations: r.revoked, Config: cfg})
	r.must(err)
	r.svc.shared = r.svc.shared || n.seal != ""
	r.must(r.svc.Start(ctx))
	r.must(ob.Start(ctx))
	keys := token.NewKeys()
	r.must(keys.SetJWKS(r.svc.JWKS()))
	r.router = web.NewRouter(r.obs, web.Config{Listener: "public"}, token.NewVerifier(r.obs, keys, r.revoked))
	Routes(r.router, r.svc)
	server := rpc.NewServer(r.obs, r.group)
	r.svc.Register(server.Registrar(obs.Auth))
	r.client = authpb.NewAuthClient(server.Conn(obs.Auth))
	return r
}

type both struct{ a, b *lines }

func (w both) Write(p []byte) (int, error) {
	_, _ = w.a.Write(p)
	return w.b.Write(p)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) take(_ context.Context, batch []bus.Envelope) error {
	for _, e := range batch {
		r.events <- e
	}
	return nil
}

// reply is an answer with its body read.
type reply struct {
	status int
	header http.Header
	raw    string
	json   map[string]any
}

func (a reply) text(name string) string {
	s, _ := a.json[name].(string)
	return s
}

// call sends JSON (a string is sent as it is) and reads the answer. It may run
// on any goroutine.
func (r *rig) call(method, path, bearer string, body any) reply {
	var text string
	switch b := body.(type) {
	case nil:
	case string:
		text = b
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			panic(err)
		}
		text = string(raw)
	}
	req := httptest.NewRequest(method, "/api/v1/"+path, strings.NewReader(text))
	if text != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return r.send(req)
}

func (r *rig) send(req *http.Request) reply {
	w := httptest.NewRecorder()
	r.router.ServeHTTP(w, req)
	a := reply{status: w.Code, header: w.Header(), raw: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &a.json)
	return a
}

// want calls and fails the test unless the status (and the problem's code, if
// any is named) is as it should be.
func (r *rig) want(status int, code, method, path, bearer string, body any) reply {
	r.t.Helper()
	a := r.call(method, path, bearer, body)
	if a.status != status || a.text("code") != code {
		r.t.Fatalf("%s %s: %d %s, want %d %q", method, path, a.status, a.raw, status, code)
	}
	return a
}

const password = "correct horse battery"

func (r *rig) register(name, device string) reply {
	r.t.Helper()
	return r.want(201, "", "POST", "auth/register", "", map[string]any{"username": name, "password": password, "device_id": device})
}

func (r *rig) login(name, device string) reply {
	r.t.Helper()
	return r.want(200, "", "POST", "auth/login", "", map[string]any{"username": name, "password": password, "device_id": device})
}

func (r *rig) refresh(proof string) reply {
	return r.call("POST", "auth/refresh", "", map[string]any{"refresh_token": proof})
}

// alive says whether an access proof is accepted.
func (r *rig) alive(access string) bool {
	return r.call("GET", "auth/sessions", access, nil).status == 200
}

// series reads all series of a family, by their label value.
func (r *rig) series(family string) map[string]float64 {
	w := httptest.NewRecorder()
	r.obs.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	out := map[string]float64{}
	for _, m := range regexp.MustCompile(`(?m)^`+family+`(?:\{[^"]*"([^"]*)"\})? (\S+)$`).FindAllStringSubmatch(w.Body.String(), -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		r.must(err)
		out[m[1]] = v
	}
	return out
}

// exec changes the store behind the service's back.
func (r *rig) exec(query string, args ...any) {
	r.t.Helper()
	r.must(r.db.Write(r.t.Context(), "test.exec", func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	}))
}

func (r *rig) count(query string, args ...any) (n int) {
	r.t.Helper()
	r.must(r.db.Read(r.t.Context(), "test.count", func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(&n)
	}))
	return n
}
