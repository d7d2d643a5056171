package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
)

// patience is how long anything that must happen may take; a hang fails a test.
const patience = 30 * time.Second

// metrics scrapes the processes, also those that have stopped: every series by
// its full name, summed up.
func (n *node) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, a := range n.apps {
		addMetrics(t, a, all)
	}
	return all
}

func addMetrics(t *testing.T, a *app.App, all map[string]float64) {
	t.Helper()
	w := httptest.NewRecorder()
	a.Obs().Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	lines := bufio.NewScanner(w.Body)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("a metric is no number: %s", line)
		}
		all[line[:i]] += v
	}
}

// added lists what grew in some families since before: series to growth.
func (n *node) added(t *testing.T, before map[string]float64, families ...string) map[string]float64 {
	t.Helper()
	grown := map[string]float64{}
	for name, v := range n.metrics(t) {
		family, _, _ := strings.Cut(name, "{")
		if d := v - before[name]; d != 0 && slices.Contains(families, family) {
			grown[name] = d
		}
	}
	return grown
}

// wantAdded waits until the families have grown at all, and then compares what
// grew: a series that must not move fails it, and so does one that moves twice.
func (n *node) wantAdded(t *testing.T, before, want map[string]float64, families ...string) {
	t.Helper()
	var got map[string]float64
	within(t, "the metrics to move", func() bool {
		got = n.added(t, before, families...)
		return len(got) >= len(want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%v (-want +got):\n%s", families, diff)
	}
}

// within waits until ok, which is asked again and again, is true.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !comes(ok) {
		t.Fatalf("waited in vain for %s", what)
	}
}

// comes says whether it was true in the end.
func comes(ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// wantSound fails the test if anything was counted that is a defect wherever it
// is not 0, or if the process does not serve any more.
func (n *node) wantSound(t *testing.T, p person) {
	t.Helper()
	for name, v := range n.metrics(t) {
		family, labels, _ := strings.Cut(name, "{")
		bad := family == "panics_total" || family == "message_e2e_invalid_total" || family == "log_lines_uncorrelated_total" ||
			strings.Contains(labels, `="unknown"`) || strings.Contains(labels, `="internal"`) ||
			strings.HasPrefix(family, "http_requests_total") && strings.Contains(labels, `="5xx"`)
		if bad && v != 0 {
			t.Errorf("%s is %v", name, v)
		}
	}
	if p.call("GET", "users/me", nil).want(t, 200).text("id") != p.id {
		t.Error("the process does not know its users any more")
	}
}

// books are the databases of a node, opened beside it.
type books struct {
	t   *testing.T
	dbs map[obs.Service]*sqldb.DB
}

// books opens the databases for counting until the end of the test.
func (n *node) books(t *testing.T) *books {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	t.Cleanup(func() {
		if r := g.Stop(context.Background()); r.Err() != nil {
			t.Error(r.Err())
		}
	})
	b := &books{t, map[obs.Service]*sqldb.DB{}}
	for _, s := range []obs.Service{obs.Auth, obs.User, obs.Messaging} {
		if b.dbs[s], err = sqldb.Open(context.Background(), o, g, sqldb.Config{Service: s, URL: n.cfg.DatabaseURL(s)}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// entries are what a refused request must leave as it is. login_failures is not
// among them: refusing is what fills it.
var entries = map[obs.Service][]string{
	obs.Auth: {
		"SELECT COUNT(*) FROM accounts", "SELECT COUNT(*) FROM sessions", "SELECT COUNT(*) FROM tickets", "SELECT COUNT(*) FROM revocations",
		"SELECT taken FROM positions",
	},
	obs.User: {"SELECT COUNT(*) FROM profiles", "SELECT COALESCE(SUM(LENGTH(display_name)), 0) FROM profiles"},
	obs.Messaging: {
		"SELECT COUNT(*) FROM conversations", "SELECT COALESCE(SUM(seq), 0) FROM messages", "SELECT COUNT(*) FROM members",
		"SELECT COALESCE(SUM(read_seq), 0) FROM members", "SELECT COUNT(*) FROM messages", "SELECT COUNT(*) FROM idempotency",
		"SELECT COALESCE(SUM(acked_seq), 0) FROM device_marks", "SELECT taken FROM positions",
	},
}

// read asks one number of a database.
func (b *books) read(s obs.Service, query string, args ...any) (v int64) {
	b.t.Helper()
	err := b.dbs[s].Read(context.Background(), "test.books", func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(&v)
	})
	if err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	return v
}

// sum is the state of all books.
func (b *books) sum() map[string]int64 {
	b.t.Helper()
	all := map[string]int64{}
	for s, queries := range entries {
		for _, q := range queries {
			all[s.String()+": "+q] = b.read(s, q)
		}
	}
	return all
}

// wantSame fails the test if anything was written since before.
func (b *books) wantSame(t *testing.T, before map[string]int64) {
	t.Helper()
	if diff := cmp.Diff(before, b.sum()); diff != "" {
		t.Errorf("a refusal left something behind (-before +after):\n%s", diff)
	}
}

// canary stands in values that must come back in no answer and no log line.
const canary = "c4n4ry"

// wantProblem judges a refusal: its status, its code, every field of the
// problem document, and that it repeats nothing that was sent.
func (a answer) wantProblem(t *testing.T, status int, code, field string) {
	t.Helper()
	if a.status != status || a.text("code") != code {
		t.Errorf("%d %s, want %d %s: %.300s", a.status, a.text("code"), status, code, a.raw)
		return
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	doc := maps.Clone(a.body)
	retry, throttled := doc["retry_after_ms"]
	if throttled != (status == 429 || status == 503) || throttled && retry.(float64) < 1 {
		t.Errorf("retry_after_ms is %v", retry)
	}
	if after := a.header.Get("Retry-After"); throttled != (after != "") {
		t.Errorf("Retry-After is %q", after)
	}
	list, named := doc["errors"].([]any)
	if named && len(list) == 0 {
		t.Error("errors is there and empty")
	}
	delete(doc, "retry_after_ms")
	delete(doc, "errors")
	wantFields(t, "the problem", doc, "type", "title", "status", "code", "detail", "correlation_id", "retryable")
	if a.text("type") != "/errors/"+code || a.number("status") != status || a.text("title") == "" || a.text("detail") == "" {
		t.Errorf("the problem contradicts itself: %s", a.raw)
	}
	if id := a.header.Get("X-Correlation-ID"); id == "" || a.text("correlation_id") != id {
		t.Errorf("correlation_id %q, in the header %q", a.text("correlation_id"), id)
	}
	if field != "" {
		wantErrors(t, list, field)
	}
	if bytes.Contains(a.raw, []byte(canary)) {
		t.Errorf("the answer repeats what was sent: %s", a.raw)
	}
	if (a.header.Get("WWW-Authenticate") != "") != (status == 401) || (a.header.Get("Allow") != "") != (status == 405) {
		t.Errorf("WWW-Authenticate %q, Allow %q", a.header.Get("WWW-Authenticate"), a.header.Get("Allow"))
	}
}

// wantErrors wants the field at fault to be named, with what would be right.
func wantErrors(t *testing.T, list []any, field string) {
	t.Helper()
	if len(list) == 0 {
		t.Errorf("errors[] is missing, want %q", field)
		return
	}
	for _, e := range list {
		wantFields(t, "an error", e, "field", "detail")
	}
	first, _ := list[0].(map[string]any)
	if first["field"] != field || first["detail"] == "" {
		t.Errorf("errors[] names %v, want %q", first, field)
	}
}

// raw writes bytes to a connection of its own and reads answers until the server
// closes it. A head without Connection gets one that closes.
func (n *node) raw(t *testing.T, request string) (all []answer) {
	t.Helper()
	head, body, _ := strings.Cut(request, "\r\n\r\n")
	if !strings.Contains(head, "\r\nConnection:") {
		request = head + "\r\nConnection: close\r\n\r\n" + body
	}
	c := n.dialTCP(t)
	if _, err := io.WriteString(c, request); err != nil {
		t.Logf("the server did not take it all: %v", err)
	}
	for r := bufio.NewReader(c); ; {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return all
		}
		a := answer{status: res.StatusCode, header: res.Header}
		a.raw, _ = io.ReadAll(res.Body)
		_ = json.Unmarshal(a.raw, &a.body)
		all = append(all, a)
	}
}

func (n *node) dialTCP(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// readAnswer reads one answer from a connection.
func readAnswer(t *testing.T, c net.Conn) (a answer) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	if a.status == http.StatusSwitchingProtocols {
		return a
	}
	if a.raw, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(a.raw, &a.body)
	return a
}
