package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/ws"
)

// node is a running Nova inside the test: one process, or several behind a
// router (see kind).
type node struct {
	t      *testing.T
	apps   []*app.App
	cfgs   []config.Config // of each
	cfg    config.Config   // of a process that would run all services
	url    string
	router *router // nil if it is one process
	log    *logs   // of all processes
	stop   func() app.Ledger
}

// logs gathers what processes log.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// lines decodes the lines that hold a text.
func (l *logs) lines(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("a log line is no JSON: %s", line)
			}
			all = append(all, m)
		}
	}
	return all
}

// complain shows what was logged above the level of ordinary events.
func (l *logs) complain(t *testing.T) {
	t.Helper()
	const most = 30
	shown := 0
	for line := range strings.Lines(l.String()) {
		if (strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`)) && shown < most {
			shown++
			t.Log(strings.TrimSpace(line))
		}
	}
}

// start runs a node on free loopback ports with its data in dir. Its limits per
// user are out of the way, unless change brings them back.
func start(t *testing.T, dir string, change ...func(*config.Config)) *node {
	t.Helper()
	return startWith(t, dir, app.Options{}, change...)
}

// startWith is start with what tests replace.
func startWith(t *testing.T, dir string, opt app.Options, change ...func(*config.Config)) *node {
	t.Helper()
	return chosen.start(t, dir, opt, change...)
}

// answer is what a REST call gave.
type answer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

func (a answer) text(path ...string) string {
	s, _ := a.value(path...).(string)
	return s
}

func (a answer) number(path ...string) int {
	f, _ := a.value(path...).(float64)
	return int(f)
}

func (a answer) value(path ...string) any {
	var v any = a.body
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// person is somebody with a session.
type person struct {
	n                                          *node
	id, name, device, access, refresh, session string
}

// call makes a REST call; body is marshalled unless it is a string.
func (p person) call(method, path string, body any, header ...string) answer {
	p.n.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			p.n.t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	return p.do(method, "/api/v1/"+path, r, header...)
}

// get asks for any path.
func (p person) get(path string) answer {
	p.n.t.Helper()
	return p.do("GET", path, nil)
}

func (p person) do(method, path string, r io.Reader, header ...string) answer {
	p.n.t.Helper()
	req, err := http.NewRequest(method, p.n.url+path, r)
	if err != nil {
		p.n.t.Fatal(err)
	}
	if r != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if p.access != "" {
		req.Header.Set("Authorization", "Bearer "+p.access)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := p.n.client().Do(req)
	if err != nil {
		p.n.t.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	if a.raw, err = io.ReadAll(res.Body); err != nil {
		p.n.t.Fatal(err)
	}
	if len(a.raw) > 0 {
		if err := json.Unmarshal(a.raw, &a.body); err != nil {
			p.n.t.Fatalf("%s %s: %d %s", method, path, a.status, a.raw)
		}
	}
	return a
}

// want fails the test unless the status is right.
func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.raw)
	}
	return a
}

const phrase = "correct horse battery"

// register makes an account.
func (n *node) register(name string, header ...string) person {
	n.t.Helper()
	a := person{n: n}.call("POST", "auth/register", map[string]any{"username": name, "password": phrase, "display_name": strings.ToUpper(name[:1]) + name[1:], "device_id": "laptop"}, header...).want(n.t, 201)
	return n.person(a)
}

// login opens a session on a device.
func (n *node) login(name, device string) person {
	n.t.Helper()
	return n.person(person{n: n}.call("POST", "auth/login", map[string]any{"username": name, "password": phrase, "device_id": device}).want(n.t, 200))
}

func (n *node) person(a answer) person {
	return person{
		n: n, id: a.text("user", "id"), name: a.text("user", "username"), device: a.text("device_id"),
		access: a.text("access_token"), refresh: a.text("refresh_token"), session: a.text("session_id"),
	}
}

// direct makes the direct conversation of two people.
func (p person) direct(other person) string {
	p.n.t.Helper()
	return p.call("POST", "conversations", map[string]any{"kind": "direct", "member_ids": []string{other.id}}).want(p.n.t, 201).text("id")
}

// send posts a message over REST.
func (p person) send(conversation, client, body string, header ...string) answer {
	p.n.t.Helper()
	return p.call("POST", "messages", map[string]any{"conversation_id": conversation, "client_msg_id": client, "body": body}, header...)
}

// socket is a person's WebSocket, whose frames are read one by one.
type socket struct {
	t       *testing.T
	c       *ws.Client
	several bool // nodes, of which each hands out at its own pace
}

// dial opens a socket without a hello.
func (p person) dial(header ...string) *socket {
	p.n.t.Helper()
	h := http.Header{}
	if p.access != "" {
		h.Set("Authorization", "Bearer "+p.access)
	}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(p.n.url, "http")+"/api/v1/ws", ws.DialOptions{Header: h})
	if err != nil {
		p.n.t.Fatal(err)
	}
	p.n.t.Cleanup(c.Drop)
	return &socket{p.n.t, c, p.n.router != nil}
}

// connect opens a socket and says hello; it returns when it is live, with the
// welcome and what was missed.
func (p person) connect(resume ...map[string]any) (s *socket, welcome map[string]any, missed []map[string]any) {
	p.n.t.Helper()
	s = p.dial()
	hello := map[string]any{"op": "hello", "id": "1"}
	if len(resume) > 0 {
		hello["resume"] = resume[0]
	}
	s.write(hello)
	welcome = s.read()
	if welcome["op"] != "welcome" {
		p.n.t.Fatalf("got %v, want welcome", welcome)
	}
	for {
		f := s.read()
		if f["op"] == "live" {
			return s, welcome, missed
		}
		missed = append(missed, f)
	}
}

// write sends a frame; a string goes as it is.
func (s *socket) write(frame any) {
	s.t.Helper()
	raw, ok := frame.(string)
	if !ok {
		b, err := json.Marshal(frame)
		if err != nil {
			s.t.Fatal(err)
		}
		raw = string(b)
	}
	if err := s.c.WriteText([]byte(raw)); err != nil {
		s.t.Fatal(err)
	}
}

// read gives the next frame, and fails the test if none comes.
func (s *socket) read() map[string]any {
	s.t.Helper()
	b, err := s.next()
	if err != nil {
		s.t.Fatalf("read: %v", err)
	}
	var f map[string]any
	if err := json.Unmarshal(b, &f); err != nil {
		s.t.Fatalf("a frame is no JSON: %s", b)
	}
	return f
}

func (s *socket) next() ([]byte, error) {
	_ = s.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return s.c.Read()
}

// until reads up to the next frame with that op, and gives it.
func (s *socket) until(op string) map[string]any {
	s.t.Helper()
	for {
		if f := s.read(); f["op"] == op {
			return f
		}
	}
}

// after is read, but passes over the conversation and its messages up to seq: a
// node that had not heard of them when the socket went live hands them out a
// moment later.
func (s *socket) after(seq int) map[string]any {
	s.t.Helper()
	f := s.read()
	for s.several && (f["op"] == "conversation" || f["op"] == "message" && seqOf(f) <= seq) {
		f = s.read()
	}
	return f
}

// fill adds to what was missed what comes a moment after live, for the same
// reason, up to seq.
func (s *socket) fill(missed []map[string]any, seq int) []map[string]any {
	s.t.Helper()
	for s.several && !slices.Contains(seqs(s.t, missed), seq) {
		missed = append(missed, s.read())
	}
	return missed
}

// closed reads to the end and gives the close code.
func (s *socket) closed() int {
	s.t.Helper()
	for {
		if _, err := s.next(); err != nil {
			return ws.CloseCode(err)
		}
	}
}

// tryStart starts a node that is expected to fail.
func tryStart(cfg config.Config) error {
	a, err := app.New(context.Background(), app.Options{Config: cfg})
	if err != nil {
		return err
	}
	defer a.Stop(context.Background())
	return a.Start(context.Background())
}
