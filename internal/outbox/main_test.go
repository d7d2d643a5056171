package outbox_test

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/test/servers"
)

// TestMain gives the property test fewer cases than rapid's 100, as each opens
// several databases, and no files of failed ones. The command line may ask for
// something else.
func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.checks": "12", "rapid.nofailfile": "true"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			_ = f.Value.Set(value)
		}
	}
	goleak.VerifyTestMain(m, servers.Running())
}

const patience = 20 * time.Second

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// process is what runs on one database until it stops.
type process struct {
	tester
	dir   string
	log   *lines
	obs   *obs.Obs
	group *run.Group
	db    *sqldb.DB
	ob    *outbox.Outbox
}

// lines is what a process logs.
type lines struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// begin starts a process on the database in dir, relays included.
func begin(t tester, dir string, cfg outbox.Config) *process {
	t.Helper()
	p := load(t, dir, cfg)
	if err := p.ob.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return p
}

// load is begin without the relays.
func load(t tester, dir string, cfg outbox.Config) *process {
	t.Helper()
	p := loadAt(t, filepath.Join(dir, "nova.db"), cfg)
	p.dir = dir
	return p
}

// loadAt is load for any database.
func loadAt(t tester, url string, cfg outbox.Config) *process {
	t.Helper()
	log := new(lines)
	o, err := obs.New(obs.Config{Out: log})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{tester: t, log: log, obs: o, group: run.New(o)}
	ctx := context.Background()
	if p.db, err = sqldb.Open(ctx, o, p.group, sqldb.Config{Service: obs.Messaging, URL: url}); err != nil {
		t.Fatal(err)
	}
	cfg.Service = obs.Messaging
	p.ob = outbox.New(o, p.group, p.db, cfg)
	if err := p.ob.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	err = p.db.Migrate(ctx, "messages", fstest.MapFS{"0001_messages.sql": {Data: []byte(
		`CREATE TABLE messages (pos BIGINT PRIMARY KEY, id TEXT NOT NULL, correlation_id TEXT NOT NULL)`)}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// single is begin for a test with one process.
func single(t *testing.T, cfg outbox.Config) *process {
	t.Helper()
	p := begin(t, t.TempDir(), cfg)
	t.Cleanup(p.stop)
	return p
}

func (p *process) stop() {
	p.Helper()
	if r := p.group.Stop(context.Background()); r.Err() != nil || r.GoroutinesLeft != 0 {
		p.Errorf("stop: %v, left %v", r.Err(), r.Left)
	}
}

// copyTo copies the files as they are, as if the machine had lost power. Nobody
// may be committing. The log goes first: with it, the file may be newer.
func (p *process) copyTo(dir string) {
	p.Helper()
	for _, name := range []string{"nova.db-wal", "nova.db"} {
		b, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil && !os.IsNotExist(err) {
			p.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			p.Fatal(err)
		}
	}
}

var errRefused = fault.New(fault.CodeConflict, "refused on purpose")

// emit commits events with one write.
func (p *process) emit(events ...bus.Envelope) {
	p.Helper()
	err := p.db.Write(context.Background(), "test.emit", func(ctx context.Context, tx *sqldb.Tx) error {
		return p.ob.Emit(ctx, tx, events...)
	})
	if err != nil {
		p.Fatal(err)
	}
}

// emitMessages commits derived events: their rows are written by the service.
func (p *process) emitMessages(events ...bus.Envelope) {
	p.Helper()
	err := p.db.Write(context.Background(), "test.messages", func(ctx context.Context, tx *sqldb.Tx) error {
		first, err := p.ob.Take(ctx, tx, len(events))
		if err != nil {
			return err
		}
		var args []any
		for i := range events {
			events[i].Pos = first + int64(i)
			args = append(args, events[i].Pos, events[i].ID, string(events[i].Correlation))
		}
		if err := tx.Insert(ctx, "messages", []string{"pos", "id", "correlation_id"}, args); err != nil {
			return err
		}
		return p.ob.Emit(ctx, tx, events...)
	})
	if err != nil {
		p.Fatal(err)
	}
}

// messages reads what emitMessages wrote.
func messages() *outbox.Derived {
	read := func(ctx context.Context, tx *sqldb.Tx, after, upTo int64, limit int) (list []bus.Envelope, err error) {
		rows, err := tx.Query(ctx, `SELECT pos, id, correlation_id FROM messages WHERE pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3`, after, upTo, limit)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			e := bus.Envelope{Type: "message.sent"}
			var correlation string
			if err := rows.Scan(&e.Pos, &e.ID, &correlation); err != nil {
				return nil, err
			}
			e.Correlation = obs.Correlation(correlation)
			list = append(list, e)
		}
		return list, rows.Err()
	}
	return &outbox.Derived{Types: []string{"message.sent"}, Read: read}
}

func (p *process) count(query string, args ...any) (n int) {
	p.Helper()
	err := p.db.Read(context.Background(), "test.count", func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(&n)
	})
	if err != nil {
		p.Fatal(err)
	}
	return n
}

func (p *process) wantMetric(line string) {
	p.Helper()
	rec := httptest.NewRecorder()
	p.obs.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(rec.Body.String(), "\n"+line+"\n") {
		p.Errorf("the metrics lack %s", line)
	}
}

// recorder is a sink that lives longer than the processes.
type recorder struct {
	name  string
	types []string

	mu      sync.Mutex
	order   []string // IDs by first occurrence
	seen    map[string]bus.Envelope
	calls   int
	refuse  error         // what Publish answers, if anything
	changed chan struct{} // closed at every change
}

func newRecorder(name string, types ...string) *recorder {
	return &recorder{name: name, types: types, seen: map[string]bus.Envelope{}, changed: make(chan struct{})}
}

func (r *recorder) sink() outbox.Sink {
	return outbox.Sink{Name: r.name, Types: r.types, Publish: r.publish}
}

func (r *recorder) publish(_ context.Context, batch []bus.Envelope) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	close(r.changed)
	r.changed = make(chan struct{})
	if r.refuse != nil {
		return r.refuse
	}
	for _, e := range batch {
		if _, repeat := r.seen[e.ID]; !repeat {
			r.order = append(r.order, e.ID)
			r.seen[e.ID] = e
		}
	}
	return nil
}

func (r *recorder) answer(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = err
}

func (r *recorder) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.order...)
}

func (r *recorder) envelope(id string) bus.Envelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[id]
}

// until waits for a state of the recorder; it holds the lock when it asks.
func (r *recorder) until(t tester, what string, ask func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		ok, changed := ask(), r.changed
		order := r.order
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s: waited in vain for %s; %d events arrived: %v", r.name, what, len(order), order)
		}
	}
}

// want waits until as many have come, then compares.
func (r *recorder) want(t tester, want ...string) {
	t.Helper()
	r.until(t, fmt.Sprint(want), func() bool { return len(r.order) >= len(want) })
	if got := fmt.Sprint(r.ids()); got != fmt.Sprint(want) {
		t.Errorf("%s got %s, want %s", r.name, got, fmt.Sprint(want))
	}
}

// called waits for n more calls.
func (r *recorder) called(t tester, n int) {
	t.Helper()
	r.mu.Lock()
	n += r.calls
	r.mu.Unlock()
	r.until(t, "calls", func() bool { return r.calls >= n })
}

func event(id string) bus.Envelope {
	return bus.Envelope{ID: id, Type: "conversation.created", Key: "k", Correlation: "test-123"}
}

func message(id string) bus.Envelope {
	return bus.Envelope{ID: id, Type: "message.sent", Correlation: "test-123"}
}

func named(from, to int, make func(string) bus.Envelope) (list []bus.Envelope) {
	for n := from; n <= to; n++ {
		list = append(list, make(fmt.Sprint("e", n)))
	}
	return list
}

func ids(list []bus.Envelope) (out []string) {
	for _, e := range list {
		out = append(out, e.ID)
	}
	return out
}
