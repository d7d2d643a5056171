package user

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/rpc"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/user/userpb"
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

// everything is what all tests of this run have logged.
var everything lines

func TestMain(m *testing.M) {
	code := m.Run()
	if bad := regexp.MustCompile(`.*(password|secret|token|key|credential).*`).Find(everything.buf.Bytes()); bad != nil {
		fmt.Fprintf(os.Stderr, "a line of the log would be found by the literal search: %s\n", bad)
		code = 1
	}
	if err := goleak.Find(servers.Running()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// accounts answers in auth's place, over the same in-process calls.
type accounts struct {
	authpb.UnimplementedAuthServer
	mu    sync.Mutex // guards what follows while nodes ask
	known map[string]*authpb.Account
	asked int
	down  bool
}

func (a *accounts) Accounts(_ context.Context, in *authpb.AccountsRequest) (*authpb.AccountsResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.down {
		return nil, fault.New(fault.CodeUnavailable, "")
	}
	out := &authpb.AccountsResponse{}
	for _, one := range in.GetIds() {
		if acct, ok := a.known[one]; ok {
			out.Accounts = append(out.Accounts, acct)
		}
	}
	return out, nil
}

type rig struct {
	t      *testing.T
	obs    *obs.Obs
	db     *sqldb.DB
	bus    *bus.Memory
	auth   *accounts
	svc    *Service
	router *web.Router
	issuer *token.Issuer
	client userpb.UsersClient
	events chan bus.Envelope // what the outbox has published
}

func (r *rig) take(_ context.Context, batch []bus.Envelope) error {
	for _, e := range batch {
		r.events <- e
	}
	return nil
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newNode(t, "sqlite:"+filepath.Join(t.TempDir(), "user.db"), &accounts{known: map[string]*authpb.Account{}})
}

func newNode(t *testing.T, url string, auth *accounts) *rig {
	t.Helper()
	r := &rig{t: t, auth: auth}
	var err error
	r.obs, err = obs.New(obs.Config{Out: &everything})
	r.must(err)
	g := run.New(r.obs)
	t.Cleanup(func() {
		if rep := g.Stop(context.Background()); rep.Err() != nil || rep.GoroutinesLeft != 0 {
			t.Errorf("stop: %v, left %v", rep.Err(), rep.Left)
		}
	})
	r.db, err = sqldb.Open(t.Context(), r.obs, g, sqldb.Config{Service: obs.User, URL: url})
	r.must(err)
	r.events = make(chan bus.Envelope, 1000)
	ob := outbox.New(r.obs, g, r.db, outbox.Config{Service: obs.User, Sinks: []outbox.Sink{{Name: "test", Publish: r.take}}})
	r.must(ob.Migrate(t.Context()))
	r.must(ob.Start(t.Context()))
	r.bus = bus.NewMemory(r.obs, g)
	server := rpc.NewServer(r.obs, g)
	authpb.RegisterAuthServer(server.Registrar(obs.Auth), r.auth)
	var conn grpc.ClientConnInterface = server.Conn(obs.Auth)
	r.svc, err = New(Deps{Obs: r.obs, DB: r.db, Outbox: ob, Events: r.bus.Events(), Auth: conn})
	r.must(err)
	r.must(r.svc.Start(t.Context()))
	r.svc.Register(server.Registrar(obs.User))
	r.client = userpb.NewUsersClient(server.Conn(obs.User))
	r.sign()
	return r
}

func (r *rig) sign() {
	public, private, err := ed25519.GenerateKey(nil)
	r.must(err)
	keys := token.NewKeys()
	r.must(keys.Set(map[string]ed25519.PublicKey{"k": public}))
	r.issuer = token.NewIssuer("k", private)
	r.router = web.NewRouter(r.obs, web.Config{Listener: "public"}, token.NewVerifier(r.obs, keys, token.NewRevocations()))
	Routes(r.router, r.svc)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// account makes an account whose event is still under way.
func (r *rig) account(username, displayName string) *authpb.Account {
	a := &authpb.Account{Id: id.New(), Username: username, DisplayName: displayName, CreatedMs: time.Now().UnixMilli()}
	r.auth.known[a.GetId()] = a
	return a
}

// registered makes an account and lets its event arrive.
func (r *rig) registered(username, displayName string) *authpb.Account {
	r.t.Helper()
	a := r.account(username, displayName)
	r.must(r.publish(event(a)))
	return a
}

func event(a *authpb.Account) bus.Envelope {
	payload, _ := json.Marshal(map[string]string{ // strings always can be written
		"user_id": a.GetId(), "username": a.GetUsername(), "display_name": a.GetDisplayName(),
		"created_at": time.UnixMilli(a.GetCreatedMs()).UTC().Format(time.RFC3339Nano),
	})
	return bus.Envelope{ID: id.New(), Type: eventRegistered, Key: a.GetId(), Pos: 1, At: time.Now(), Correlation: "test-123", Payload: payload}
}

func (r *rig) publish(batch ...bus.Envelope) error {
	return r.bus.Events().Publish(r.t.Context(), batch)
}

type reply struct {
	status int
	raw    string
	json   map[string]any
}

func (a reply) text(name string) string {
	s, _ := a.json[name].(string)
	return s
}

// call asks as somebody; who is nil for nobody.
func (r *rig) call(who *authpb.Account, method, path, body string) reply {
	r.t.Helper()
	req := httptest.NewRequest(method, "/api/v1/users"+path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if who != nil {
		proof, err := r.issuer.Issue(token.Identity{UserID: who.GetId(), SessionID: id.New(), DeviceID: "d", ExpiresAt: time.Now().Add(time.Minute)}, time.Now())
		r.must(err)
		req.Header.Set("Authorization", "Bearer "+proof.Reveal())
	}
	w := httptest.NewRecorder()
	r.router.ServeHTTP(w, req)
	a := reply{status: w.Code, raw: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &a.json)
	return a
}

func (r *rig) want(status int, code string, who *authpb.Account, method, path, body string) reply {
	r.t.Helper()
	a := r.call(who, method, path, body)
	if a.status != status || a.text("code") != code {
		r.t.Fatalf("%s %s: %d %s, want %d %q", method, path, a.status, a.raw, status, code)
	}
	return a
}

// names lists the user names of a page.
func (a reply) names() (names []string) {
	items, _ := a.json["items"].([]any)
	for _, it := range items {
		m, _ := it.(map[string]any)
		s, _ := m["username"].(string)
		names = append(names, s)
	}
	return slices.Clip(names)
}
