package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/test/servers"
)

// eventually tries until it works: something outside has to come back first.
func eventually(t *testing.T, fn func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fn()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

var numbers = fstest.MapFS{"0001_t.sql": {Data: []byte(`CREATE TABLE t (n BIGINT PRIMARY KEY)`)}}

func put(n int) func(context.Context, *Tx) error { return execute(`INSERT INTO t VALUES ($1)`, n) }

// stored gives what is in t, by a connection of its own.
func stored(t *testing.T, address string) string {
	t.Helper()
	return admin(t, address, `SELECT coalesce(string_agg(n::text, ' ' ORDER BY n), '') FROM messaging.t`)
}

// gate is a way to the server that a test can close.
type gate struct {
	listener net.Listener
	to       string
	swallow  atomic.Bool  // answers of the server are lost, and the connection with the first
	cut      atomic.Bool  // the client's next words are lost, and the connection with them
	silent   atomic.Bool  // nothing comes through, either way, but nothing ends
	late     atomic.Int64 // how long the next connection waits, in nanoseconds
	words    []byte       // what is said in the place of what is swallowed
	mu       sync.Mutex
	conns    []net.Conn
	wg       sync.WaitGroup
}

// through gives the address of the server by way of the gate.
func through(t *testing.T, address string) (*gate, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, to: u.Host}
	g.wg.Go(g.accept)
	t.Cleanup(func() {
		_ = l.Close()
		g.end()
		g.wg.Wait()
	})
	u.Host = l.Addr().String()
	return g, u.String()
}

func (g *gate) accept() {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		time.Sleep(time.Duration(g.late.Swap(0)))
		out, err := net.Dial("tcp", g.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		g.mu.Lock()
		g.conns = append(g.conns, in, out)
		g.mu.Unlock()
		g.wg.Go(func() { g.pass(out, in, &g.cut) })
		g.wg.Go(func() { g.pass(in, out, &g.swallow) })
	}
}

// end closes all connections, and opens the gate.
func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
	g.silent.Store(false)
}

func (g *gate) pass(to io.WriteCloser, from io.ReadCloser, stop *atomic.Bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if stop.CompareAndSwap(true, false) {
			if stop == &g.swallow {
				_, _ = to.Write(g.words)
			}
			return
		}
		if g.silent.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestACommitThatIsCutIsNeverAnsweredAsDone(t *testing.T) {
	for name, committed := range map[string]bool{"after it": true, "before it": false} {
		t.Run(name, func(t *testing.T) {
			address := servers.Postgres(t)
			g, by := through(t, address)
			var log bytes.Buffer
			db, o, _ := start(t, by, &log)
			if err := db.Migrate(t.Context(), "test", numbers); err != nil {
				t.Fatal(err)
			}
			hook := false
			err := db.Write(t.Context(), "test", func(ctx context.Context, tx *Tx) error {
				tx.AfterCommit(func() { hook = true })
				if err := put(1)(ctx, tx); err != nil {
					return err
				}
				if committed { // what goes over the wire next is the commit
					g.swallow.Store(true)
				} else {
					g.cut.Store(true)
				}
				return nil
			})
			if !fault.Is(err, fault.CodeUnavailable) || hook {
				t.Errorf("got %v, hook %v", err, hook)
			}
			if got := gauge(t, o, `db_failures_total{reason="commit_unknown",service="messaging"}`); got != "1" {
				t.Errorf("counted %s", got)
			}
			if want := map[bool]string{true: "1", false: ""}[committed]; stored(t, address) != want {
				t.Errorf("stored %q, want %q", stored(t, address), want)
			}
			if err := db.Write(t.Context(), "test", put(2)); err != nil {
				t.Errorf("after it: %v", err)
			}
			if !strings.Contains(log.String(), "a commit failed") || strings.Contains(log.String(), "127.0.0.1") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// What waits while the server is cut off is answered with the group that met
// it, not with an attempt of its own.
func TestNobodyWaitsForASilentServer(t *testing.T) {
	address := servers.Postgres(t)
	g, by := through(t, address)
	db, _, _ := start(t, by, nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	groups := 0
	b := NewBatch(db, "test", func(ctx context.Context, tx *Tx, reqs []int) ([]Result[int], error) {
		groups++
		var args []any
		for _, n := range reqs {
			args = append(args, n)
		}
		return make([]Result[int], len(reqs)), tx.Insert(ctx, "t", []string{"n"}, args)
	})
	if _, err := b.Do(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	groups = 0
	g.silent.Store(true)
	var wg sync.WaitGroup
	codes := make([]error, 1500)
	for i := range codes {
		wg.Add(1)
		b.Submit(t.Context(), i+1, func(_ int, err error) { codes[i] = err; wg.Done() })
	}
	read := make(chan error, 1)
	go func() { read <- db.Read(context.Background(), "test", execute(`SELECT 1`)) }()
	wg.Wait()
	for i, err := range codes {
		if !fault.Is(err, fault.CodeUnavailable) {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if err := <-read; !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("read: %v", err)
	}
	if groups > 2*tries {
		t.Errorf("%d groups were tried", groups)
	}
	g.end()
	eventually(t, func() error { _, err := b.Do(t.Context(), 9999); return err })
	if got := stored(t, address); got != "0 9999" {
		t.Errorf("stored %q", got)
	}
}

func TestAServerThatComesBack(t *testing.T) {
	server := servers.StartPostgres(t, servers.PostgresOptions{})
	var log bytes.Buffer
	db, _, _ := start(t, server.URL, &log)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	if err := db.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, fault := range map[string]struct{ down, up func() error }{
		"restarted": {server.Stop, server.Start}, "aborted": {server.Abort, server.Start}, "paused": {server.Pause, server.Continue},
	} {
		if err := fault.down(); err != nil {
			t.Fatal(err)
		}
		n += 2
		if err := db.Write(t.Context(), "test", put(n)); err == nil {
			t.Errorf("%s: a write was answered as done", name)
		}
		if err := db.Read(t.Context(), "test", execute(`SELECT 1`)); err == nil {
			t.Errorf("%s: a read was answered", name)
		}
		if err := db.Check(t.Context()); err == nil {
			t.Errorf("%s: it looks well", name)
		}
		if err := fault.up(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { return db.Write(t.Context(), "test", put(n+1)) })
		eventually(t, func() error { return db.Check(t.Context()) })
	}
	if !strings.Contains(log.String(), "does not answer") || !strings.Contains(log.String(), "answers again") {
		t.Errorf("log: %s", log.String())
	}
}

// A server that was restarted while nobody used it is no reason to refuse
// anybody anything.
func TestConnectionsThatDiedIdleAreReplaced(t *testing.T) {
	server := servers.StartPostgres(t, servers.PostgresOptions{})
	db, o, _ := start(t, server.URL, nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := errors.Join(server.Stop(), server.Start()); err != nil {
			t.Fatal(err)
		}
		for n := range 2 * db.readers.size() {
			if err := db.Read(t.Context(), "test", execute(`SELECT 1`)); err != nil {
				t.Errorf("read %d: %v", n, err)
			}
		}
		if err := db.Write(t.Context(), "test", execute(`INSERT INTO t SELECT count(*) FROM t`)); err != nil {
			t.Errorf("write: %v", err)
		}
	}
	if got := gauge(t, o, `db_failures_total{reason="unreachable",service="messaging"}`); got != "0" {
		t.Errorf("counted %s", got)
	}
}

// A transaction that the server gave up before the commit is repeated.
func TestTransactionsAreRepeated(t *testing.T) {
	db, _, _ := start(t, servers.Postgres(t), nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	raise := func(state string) string {
		return fmt.Sprintf(`DO $do$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '%s'; END $do$`, state)
	}
	for i, trouble := range []string{raise("40P01"), raise("40001"), raise("55P03"), `SELECT pg_terminate_backend(pg_backend_pid())`} {
		for _, times := range []int{1, tries - 1, tries} {
			runs, hooks := 0, 0
			err := db.Write(t.Context(), "test", func(ctx context.Context, tx *Tx) error {
				tx.AfterCommit(func() { hooks++ })
				if err := put(10*i+times)(ctx, tx); err != nil {
					return err
				}
				if runs++; runs <= times {
					return tx.script(ctx, trouble)
				}
				return nil
			})
			if times < tries && (err != nil || runs != times+1 || hooks != 1) {
				t.Errorf("%s %d times: %v after %d runs, %d hooks", trouble, times, err, runs, hooks)
			}
			if times == tries && (!fault.Is(err, fault.CodeUnavailable) || runs != tries || hooks != 0) {
				t.Errorf("%s %d times: %v after %d runs, %d hooks", trouble, times, err, runs, hooks)
			}
		}
	}
}

func TestALongStatementIsBrokenOffByTheServer(t *testing.T) {
	db, _, _ := start(t, servers.Postgres(t), nil)
	sleep := execute(`SELECT pg_sleep(60)`)
	if err := db.Write(t.Context(), "test", sleep); !fault.Is(err, fault.CodeTimeout) {
		t.Errorf("write: %v", err)
	}
	if err := db.Read(t.Context(), "test", sleep); !fault.Is(err, fault.CodeTimeout) {
		t.Errorf("read: %v", err)
	}
}

// Two nodes write to one database: what one looks at, the other does not change
// before the commit, though nobody asks for a lock.
func TestNodesWriteOneAfterTheOther(t *testing.T) {
	address := servers.Postgres(t)
	a, _, _ := start(t, address, nil)
	b, _, _ := start(t, address, nil)
	if err := a.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	next := func(ctx context.Context, tx *Tx) error {
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM t`).Scan(&n); err != nil {
			return err
		}
		return put(n)(ctx, tx)
	}
	var wg sync.WaitGroup
	for _, db := range []*DB{a, b, a, b} {
		wg.Go(func() {
			for range 25 {
				if err := db.Write(context.Background(), "test", next); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := admin(t, address, `SELECT count(*) || ' ' || max(n) FROM messaging.t`); got != "100 99" {
		t.Errorf("stored %s", got)
	}
}

// A node that stops in the middle of a transaction holds the others up no
// longer than the server lets it.
func TestAStoppedNodeHoldsNobodyUp(t *testing.T) {
	address := servers.Postgres(t)
	a, _, _ := start(t, address, nil)
	b, _, _ := start(t, address, nil)
	if err := a.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	held, let, answer := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		answer <- a.Write(context.Background(), "test", func(ctx context.Context, tx *Tx) error {
			err := put(1)(ctx, tx)
			once.Do(func() { close(held); <-let })
			return err
		})
	}()
	<-held
	if err := b.Write(t.Context(), "test", put(2)); err != nil {
		t.Errorf("the other node: %v", err)
	}
	close(let)
	if err := <-answer; !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("the stopped node: %v", err)
	}
	if got := stored(t, address); got != "2" {
		t.Errorf("stored %q", got)
	}
}

// A commit that did not happen as asked is not taken for one that did.
func TestAStrangeCommitIsNotBelieved(t *testing.T) {
	db, _, _ := start(t, servers.Postgres(t), nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	for _, behind := range []string{`COMMIT`, `ROLLBACK`, `ROLLBACK; BEGIN; DO $$ BEGIN RAISE 'x'; END $$`} {
		err := db.Write(t.Context(), "test", func(ctx context.Context, tx *Tx) error {
			if _, err := tx.Exec(ctx, `DELETE FROM t`); err != nil {
				return err
			}
			_, err := tx.conn.(*pgSession).link.simple(behind)
			_ = err
			return nil
		})
		if !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("%s: %v", behind, err)
		}
	}
}

// farAway is the address of the server by a way of 2 ms there and back.
func farAway(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := servers.StartProxy(t, u.Host)
	if err := proxy.Latency(2 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	u.Host = proxy.Addr
	return u.String()
}

// A pooler says its own last words when it has lost the server. They come where the
// server's would, and say nothing about the commit that was on the way.
func TestAPoolerThatLosesTheServer(t *testing.T) {
	address := servers.Postgres(t)
	g, way := through(t, address)
	db, _, _ := start(t, way, nil)
	err := db.Migrate(t.Context(), "test", fstest.MapFS{"0001_t.sql": {Data: []byte(`CREATE TABLE t (n BIGINT)`)}})
	if err != nil {
		t.Fatal(err)
	}
	fatal := &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "08P01", Message: "server conn crashed?"}
	if g.words, err = fatal.Encode(nil); err != nil {
		t.Fatal(err)
	}
	runs, lose := 0, false
	batch := NewBatch(db, "test", func(ctx context.Context, tx *Tx, reqs []int) ([]Result[int], error) {
		runs++
		var before int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM t`).Scan(&before); err != nil {
			return nil, err
		}
		g.swallow.Store(lose)
		return make([]Result[int], len(reqs)), tx.ExecLater(`INSERT INTO t VALUES ($1)`, reqs[0])
	})
	if _, err := batch.Do(t.Context(), 1); err != nil { // prepares
		t.Fatal(err)
	}
	runs, lose = 0, true
	if _, err := batch.Do(t.Context(), 2); !fault.Is(err, fault.CodeUnavailable) || runs != 1 {
		t.Errorf("%v after %d runs", err, runs)
	}
	if got := stored(t, address); got != "1 2" {
		t.Errorf("stored %s", got)
	}
	lose = false
	eventually(t, func() error {
		_, err := batch.Do(t.Context(), 3)
		return err
	})
}

// The server is asked over another connection to break off what a reader who has
// left began. That may arrive when it does something for somebody else.
func TestALateCancelHitsNobodyElse(t *testing.T) {
	address := servers.Postgres(t)
	g, way := through(t, address)
	db, _, _ := start(t, way, nil)
	ctx, cancel := context.WithCancel(t.Context())
	g.late.Store(int64(cancelTime + 100*time.Millisecond))
	_ = db.Read(ctx, "leaves", func(ctx context.Context, tx *Tx) error {
		var n int
		err := tx.QueryRow(ctx, `SELECT 1`).Scan(&n)
		cancel()
		return err
	})
	var errs sync.WaitGroup
	for range cap(db.readers.slots) { // one of them has the connection
		errs.Go(func() {
			err := db.Read(context.Background(), "stays", func(ctx context.Context, tx *Tx) error {
				var n int
				return tx.QueryRow(ctx, `SELECT 1 FROM pg_sleep(0.3)`).Scan(&n)
			})
			if err != nil {
				t.Errorf("somebody else's read: %v", err)
			}
		})
	}
	errs.Wait()
}
