package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
)

// accessRow is a route and what it answers to each kind of caller: somebody
// without an identity, the owner of the object (alice), another member of its
// conversation (bob) and a stranger to it (eve). A route whose path or body
// names an object answers a stranger as if there were none.
type accessRow struct {
	path, body                         string // {k} a group, {m} a message in it, {s} a session of the owner's
	anonymous, owner, member, stranger int
	fresh                              bool // each caller comes with a session of its own: the call ends it
	why                                string
}

// all is a row that treats everybody alike who is signed in.
func all(path, body string, status int) accessRow {
	return accessRow{path: path, body: body, anonymous: 401, owner: status, member: status, stranger: status}
}

// open is a row of a route that needs no identity.
func open(path, body string, status int) accessRow {
	r := all(path, body, status)
	r.anonymous = status
	return r
}

func object(path, body string, owner, member int) accessRow {
	return accessRow{path: path, body: body, anonymous: 401, owner: owner, member: member, stranger: 404}
}

func ending(r accessRow) accessRow {
	r.fresh = true
	return r
}

var accessRows = map[string]accessRow{
	"POST /api/v1/auth/register":              open("auth/register", `{"username":"alice","password":"`+phrase+`"}`, 409),
	"POST /api/v1/auth/login":                 open("auth/login", `{"username":"alice","password":"`+phrase+`","device_id":"tablet"}`, 200),
	"POST /api/v1/auth/refresh":               open("auth/refresh", `{"refresh_token":"none"}`, 401),
	"POST /api/v1/auth/logout":                ending(all("auth/logout", "", 204)),
	"POST /api/v1/auth/password":              all("auth/password", `{"old":"not the phrase","new":"another long phrase"}`, 401),
	"POST /api/v1/auth/ticket":                all("auth/ticket", "", 200),
	"GET /api/v1/auth/sessions":               all("auth/sessions", "", 200),
	"DELETE /api/v1/auth/sessions":            ending(all("auth/sessions", "", 204)),
	"DELETE /api/v1/auth/sessions/{id}":       object("auth/sessions/{s}", "", 204, 404),
	"GET /api/v1/users":                       all("users?q=alice", "", 200),
	"GET /api/v1/users/me":                    all("users/me", "", 200),
	"PATCH /api/v1/users/me":                  all("users/me", `{}`, 200),
	"GET /api/v1/users/{id}":                  all("users/{u}", "", 200), // people may look each other up
	"GET /api/v1/conversations":               all("conversations", "", 200),
	"POST /api/v1/conversations":              all("conversations", `{"kind":"group","name":"G","member_ids":["{u}","{b}"]}`, 201),
	"GET /api/v1/conversations/{id}":          object("conversations/{k}", "", 200, 200),
	"PUT /api/v1/conversations/{id}/read":     object("conversations/{k}/read", `{"seq":1}`, 204, 204),
	"GET /api/v1/conversations/{id}/messages": object("conversations/{k}/messages", "", 200, 200),
	"POST /api/v1/messages":                   object("messages", `{"conversation_id":"{k}","client_msg_id":"a-1","body":"b"}`, 201, 201),
	"GET /api/v1/messages":                    all("messages", "", 200),
	"GET /api/v1/messages/{id}":               object("messages/{m}", "", 200, 200),
	"GET /api/v1/ws":                          open("ws", "", 400), // who it is shows after the upgrade, in hello
	"GET /healthz":                            {why: "for everybody; TestHealthIsForEverybody"},
	"GET /readyz":                             {why: "for everybody; TestHealthIsForEverybody"},
}

// documented lists the routes of the OpenAPI document.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	_, r, err := app.Catalogue(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := r.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct{ Security []map[string][]string }
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	routes := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			routes[strings.ToUpper(method)+" "+path] = len(op.Security) == 1 // signed in alone; {} beside it is optional
		}
	}
	return routes
}

func TestEveryRouteForEveryCaller(t *testing.T) {
	t.Parallel()
	routes := documented(t)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(routes)), slices.Sorted(maps.Keys(accessRows))); diff != "" {
		t.Errorf("the routes and the rows of this table differ (-document +table):\n%s", diff)
	}
	n := start(t, t.TempDir(), func(c *config.Config) { c.Limits.LoginsPerAddress = config.Rate{Count: 1000, Per: 1e9, Burst: 1000} })
	alice, bob, eve := n.register("alice"), n.register("bob"), n.register("eve")
	k := alice.call("POST", "conversations", map[string]any{"kind": "group", "name": "G", "member_ids": []string{bob.id}}).want(t, 201).text("id")
	m := alice.send(k, "c-1", "text").want(t, 201).text("id")
	const nobody = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for route, row := range accessRows {
		t.Run(strings.ReplaceAll(route, "/", "|"), func(t *testing.T) {
			if row.why != "" {
				t.Skip(row.why)
			}
			if routes[route] != (row.anonymous == 401) && route != "POST /api/v1/auth/refresh" {
				t.Errorf("the document says that an identity is needed: %v, the table %d", routes[route], row.anonymous)
			}
			real := strings.NewReplacer("{k}", k, "{m}", m, "{s}", n.spare(t, row), "{u}", alice.id, "{b}", eve.id)
			none := strings.NewReplacer("{k}", nobody, "{m}", nobody, "{s}", nobody)
			ask := func(p person, words *strings.Replacer) answer {
				method, _, _ := strings.Cut(route, " ")
				var body any
				if row.body != "" {
					body = words.Replace(row.body)
				}
				return p.call(method, words.Replace(row.path), body)
			}
			if a := ask(person{n: n}, real); a.status != row.anonymous {
				t.Errorf("anonymous: %d, want %d: %s", a.status, row.anonymous, a.raw)
			} else if a.status == 401 {
				a.wantProblem(t, 401, "unauthenticated", "")
			}
			for _, c := range []struct {
				name   string
				caller person
				status int
			}{{"stranger", eve, row.stranger}, {"member", bob, row.member}, {"owner", alice, row.owner}} {
				if row.fresh {
					c.caller = n.login(c.caller.name, "passing")
				}
				a := ask(c.caller, real)
				if a.status != c.status {
					t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.status, a.raw)
				}
				if c.status == 404 {
					wantAlike(t, c.name, a, ask(c.caller, none))
				}
			}
			if row.fresh && route == "DELETE /api/v1/auth/sessions" { // which ended these
				alice, bob, eve = n.login("alice", "laptop"), n.login("bob", "laptop"), n.login("eve", "laptop")
			}
		})
	}
	n.wantSound(t, alice)
}

// spare opens a session of the owner's for a row that names one.
func (n *node) spare(t *testing.T, row accessRow) string {
	t.Helper()
	if !strings.Contains(row.path, "{s}") {
		return ""
	}
	return n.login("alice", "spare").session
}

// wantAlike fails the test if what exists and must not be seen is answered in
// any other way than what does not exist.
func wantAlike(t *testing.T, who string, there, nowhere answer) {
	t.Helper()
	strip := func(a answer) (string, http.Header) {
		h := a.header.Clone()
		for _, name := range []string{"Date", "X-Correlation-Id"} {
			h.Del(name)
		}
		return strings.ReplaceAll(string(a.raw), a.text("correlation_id"), ""), h
	}
	body, header := strip(there)
	body0, header0 := strip(nowhere)
	if there.status != nowhere.status || body != body0 {
		t.Errorf("%s: what is there answers %d %s, what is not %d %s", who, there.status, body, nowhere.status, body0)
	}
	if diff := cmp.Diff(header0, header); diff != "" {
		t.Errorf("%s: the headers differ (-nowhere +there):\n%s", who, diff)
	}
}

func TestHealthIsForEverybody(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	for _, path := range []string{"/healthz", "/readyz"} {
		res, err := n.client().Get(n.url + path)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 200 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

func TestOperatorsRoutesAreNotPublic(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice := n.register("alice")
	for _, path := range []string{"/metrics", "/debug/pprof", "/debug/pprof/heap", "/debug/vars", "/build", "/config", "/drain"} {
		for _, method := range []string{"GET", "POST"} {
			got := n.raw(t, method+" "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nAuthorization: Bearer "+alice.access+"\r\n\r\n")
			if len(got) != 1 {
				t.Errorf("%s %s: %d answers", method, path, len(got))
				continue
			}
			if want := map[string]int{"GET": 404, "POST": 405}[method]; got[0].status != want {
				t.Errorf("%s %s: %d, want %d", method, path, got[0].status, want)
			}
			if strings.Contains(string(got[0].raw), "go_goroutines") || strings.Contains(string(got[0].raw), "listen_admin") {
				t.Errorf("%s %s shows what is the operator's: %.80s", method, path, got[0].raw)
			}
		}
	}
	for _, a := range n.apps {
		select {
		case <-a.Done():
			t.Error("a client made a process stop")
		default:
		}
	}
}
