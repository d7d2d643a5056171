package sqldb

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/test/servers"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SQLDB_TEST_LOCK"); dir != "" {
		_, err := LockFolder(dir)
		fmt.Println(err)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, servers.Running())
}

// start opens a database and gives what stops it.
func start(t *testing.T, path string, log *bytes.Buffer) (*DB, *obs.Obs, func() run.Report) {
	t.Helper()
	cfg := obs.Config{}
	if log != nil {
		cfg.Out = log
	}
	o, err := obs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	db, err := Open(t.Context(), o, g, Config{Service: obs.Messaging, URL: path})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() run.Report {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return g.Stop(ctx)
	}
	t.Cleanup(func() { stop() })
	return db, o, stop
}

func execute(query string, args ...any) func(context.Context, *Tx) error {
	return func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	}
}

// gauge is the value of a series.
func gauge(t *testing.T, o *obs.Obs, series string) string {
	t.Helper()
	rec := newRecorder()
	o.Metrics.Handler().ServeHTTP(rec, rec.request(t))
	for line := range strings.Lines(rec.body.String()) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "no such series"
}

func TestWeakSettingsAreRefused(t *testing.T) {
	weak := map[string]string{
		"synchronous": "NORMAL", "foreign_keys": "OFF", "wal_autocheckpoint": "0", "busy_timeout": "0", "journal_mode": "DELETE",
	}
	for name, value := range weak {
		settings := slices.Clone(strict)
		i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
		settings[i].value = value
		c, err := connect(filepath.Join(t.TempDir(), "weak.db"), "BEGIN", settings)
		if err == nil {
			_ = c.close()
			t.Fatalf("%s=%s was accepted", name, value)
		}
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
}

func TestEveryConnectionIsStrict(t *testing.T) {
	db, o, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	conns := []*conn{db.writer.conn.(*conn), db.engine.(*lite).checkpoints.conn}
	for range db.readers.size() {
		s := <-db.readers.slots
		c := s.(*conn)
		if err := c.verify(reading); err != nil {
			t.Error(err)
		}
		conns = append(conns, c)
		defer func() { db.readers.slots <- s }()
	}
	for _, c := range conns {
		if err := c.verify(strict); err != nil {
			t.Error(err)
		}
	}
	if got := gauge(t, o, "nova_durability_strict"); got != "1" {
		t.Errorf("nova_durability_strict %s", got)
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db, _, _ := start(t, filepath.Join(dir, "nova.db"), nil)
	if err := db.Write(t.Context(), "test", execute(`CREATE TABLE t (n BIGINT)`)); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
}

func TestAddresses(t *testing.T) {
	for url, ok := range map[string]bool{
		"sqlite:/tmp/x.db": true, "/tmp/x.db": true, "x.db": true,
		"": false, "sqlite:": false, "x.db?_pragma=synchronous(0)": false, "file:x.db": false, ":memory:": false,
	} {
		if _, err := place(url); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestStopFinishesWhatWasAccepted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nova.db")
	db, _, stop := start(t, path, nil)
	if err := db.Write(t.Context(), "test", execute(`CREATE TABLE t (n BIGINT)`)); err != nil {
		t.Fatal(err)
	}
	db.Ride(time.Hour, execute(`INSERT INTO t VALUES (1000)`)) // rides with the first write, and at the stop
	b := NewBatch(db, "test", func(ctx context.Context, tx *Tx, reqs []int) ([]Result[int], error) {
		for _, n := range reqs {
			if _, err := tx.Exec(ctx, `INSERT INTO t VALUES ($1)`, n); err != nil {
				return nil, err
			}
		}
		return make([]Result[int], len(reqs)), nil
	})
	answered := 0
	for n := range 1000 {
		b.Submit(t.Context(), n, func(_ int, err error) {
			if err == nil {
				answered++
			}
		})
	}
	if err := stop().Err(); err != nil {
		t.Fatal(err)
	}
	if answered != 1000 {
		t.Errorf("%d answered", answered)
	}
	if err := db.Write(t.Context(), "test", execute(`DELETE FROM t`)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("write after the stop: %v", err)
	}
	if err := db.Read(t.Context(), "test", execute(`SELECT 1`)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("read after the stop: %v", err)
	}
	if _, err := os.Stat(path + "-wal"); !os.IsNotExist(err) {
		t.Errorf("the log is still there: %v", err)
	}
	again, _, _ := start(t, path, nil)
	var n, rides int
	err := again.Read(t.Context(), "test", func(ctx context.Context, tx *Tx) error {
		return tx.QueryRow(ctx, `SELECT COUNT(*), COUNT(*) FILTER (WHERE n = 1000) FROM t`).Scan(&n, &rides)
	})
	if err != nil || n != 1002 || rides != 2 {
		t.Errorf("%d rows, %d rides, %v", n, rides, err)
	}
}

func TestAFailedCommitIsNeverAnsweredAsDone(t *testing.T) {
	var log bytes.Buffer
	db, o, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), &log)
	create := `CREATE TABLE t (n BIGINT PRIMARY KEY, up BIGINT REFERENCES t (n) DEFERRABLE INITIALLY DEFERRED)`
	if err := db.Write(t.Context(), "test", execute(create)); err != nil {
		t.Fatal(err)
	}
	hook := false
	err := db.Write(t.Context(), "test", func(ctx context.Context, tx *Tx) error {
		tx.AfterCommit(func() { hook = true })
		return execute(`INSERT INTO t VALUES (1, 99)`)(ctx, tx) // only the commit sees what is missing
	})
	if !fault.Is(err, fault.CodeUnavailable) || hook {
		t.Errorf("got %v, hook %v", err, hook)
	}
	if err := db.Write(t.Context(), "test", execute(`INSERT INTO t VALUES (2, 2)`)); err != nil {
		t.Errorf("after it: %v", err)
	}
	if got := gauge(t, o, `db_failures_total{reason="commit_unknown",service="messaging"}`); got != "1" {
		t.Errorf("counted %s", got)
	}
	if !strings.Contains(log.String(), "a commit failed") {
		t.Errorf("log: %s", log.String())
	}
}

// A row that is there already is no failure as long as somebody looks for it.
func TestARowThatNobodyLooksForIsCounted(t *testing.T) {
	db, o, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	if err := db.Write(t.Context(), "test", execute(`CREATE TABLE t (n BIGINT PRIMARY KEY)`)); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), "test", execute(`INSERT INTO t VALUES (1)`)); err != nil {
		t.Fatal(err)
	}
	counted := func() string { return gauge(t, o, `db_failures_total{reason="constraint",service="messaging"}`) }
	told := 0
	insert := func(looks bool) error {
		return db.Write(t.Context(), "test", func(_ context.Context, tx *Tx) error {
			if looks && told > 0 {
				return nil
			}
			return tx.InsertLater("t", []string{"n"}, []any{1}, func() { told++ })
		})
	}
	if err := insert(true); err != nil || told != 1 || counted() != "0" {
		t.Errorf("looked for: %v, told %d times, counted %s", err, told, counted())
	}
	if err := insert(false); !fault.Is(err, fault.CodeConflict) || counted() != "1" {
		t.Errorf("not looked for: %v, told %d times, counted %s", err, told, counted())
	}
}

func TestAFullDisk(t *testing.T) {
	db, o, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	if err := db.Write(t.Context(), "test", execute(`CREATE TABLE t (data TEXT)`)); err != nil {
		t.Fatal(err)
	}
	fill := execute(`INSERT INTO t VALUES ($1)`, strings.Repeat("x", 1<<20))
	full := func(ctx context.Context, tx *Tx) error {
		if _, err := tx.conn.(*conn).pragma("max_page_count=10"); err != nil { // until the connection is replaced
			return err
		}
		return fill(ctx, tx)
	}
	if err := db.Write(t.Context(), "test", full); !fault.Is(err, fault.CodeStorageFull) {
		t.Errorf("got %v", err)
	}
	if got := gauge(t, o, `db_failures_total{reason="full",service="messaging"}`); got != "1" {
		t.Errorf("counted %s", got)
	}
	if err := db.Write(t.Context(), "test", fill); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestAFailedFsyncStopsAllWriting(t *testing.T) {
	db, o, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	db.writer.lose(&failure{reason: obs.StoreCommit, code: 1034, sync: true})
	if err := db.Write(t.Context(), "test", execute(`CREATE TABLE t (n BIGINT)`)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("got %v", err)
	}
	if db.Broken() == nil || gauge(t, o, "nova_durability_strict") != "0" {
		t.Error("nothing shows that the database is broken")
	}
	if err := db.Read(t.Context(), "test", execute(`SELECT 1`)); err != nil {
		t.Errorf("reads go on: %v", err)
	}
}

func TestAnotherProcessWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nova.db")
	db, _, _ := start(t, path, nil)
	if err := db.Write(t.Context(), "test", execute(`CREATE TABLE t (n BIGINT)`)); err != nil {
		t.Fatal(err)
	}
	insert := execute(`INSERT INTO t VALUES (1)`)
	if err := db.Write(t.Context(), "test", insert); err != nil {
		t.Fatal(err)
	}
	other, err := connect(path, "BEGIN IMMEDIATE", strict)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.close() }()
	if err := other.script(t.Context(), `ALTER TABLE t ADD COLUMN more TEXT; BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), "test", insert); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("while the other one writes: %v", err)
	}
	if err := other.script(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), "test", execute(`INSERT INTO t (n, more) VALUES (1, 'x')`)); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestTheLogDoesNotGrowForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nova.db")
	db, _, _ := start(t, path, nil)
	if err := db.Write(t.Context(), "test", execute(`CREATE TABLE t (n BIGINT, data TEXT)`)); err != nil {
		t.Fatal(err)
	}
	block := strings.Repeat("x", 1<<20)
	for range 200 { // three times the log's length
		if err := db.Write(t.Context(), "test", execute(`INSERT INTO t VALUES (1, $1)`, block)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path + "-wal")
	t.Logf("the log has %d pages", info.Size()/4120)
	if err != nil || info.Size() > 2*walPages*4096 {
		t.Errorf("the log has %d bytes, %v", info.Size(), err)
	}
}

func TestTwoServersOnOneFolder(t *testing.T) {
	dir := t.TempDir()
	lock, err := LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	other := func() string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SQLDB_TEST_LOCK="+dir)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if out := other(); !strings.Contains(out, fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("the second says %q", out)
	}
	ran := false
	if err := Serialize(dir, func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("beside a server: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if out := other(); !strings.Contains(out, "<nil>") {
		t.Errorf("after the end of the first it says %q", out)
	}
}

func TestMigrationsAreRefused(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	first := file("CREATE TABLE a (n BIGINT);")
	db, _, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	for _, step := range []struct {
		name  string
		files fstest.MapFS
		want  string // "" = works
	}{
		{"first", fstest.MapFS{"0001_a.sql": first, "README.md": file("not one")}, ""},
		{"changed", fstest.MapFS{"0001_a.sql": file("CREATE TABLE a (n TEXT);")}, "was changed"},
		{"bad name", fstest.MapFS{"1_a.sql": first}, "NNNN_what.sql"},
		{"one number", fstest.MapFS{"0001_a.sql": first, "0001_b.sql": first}, "one number"},
		{"half wrong", fstest.MapFS{"0001_a.sql": first, "0002_b.sql": file("CREATE TABLE b (n BIGINT); NONSENSE;")}, "0002_b.sql"},
		{"nothing of it stayed", fstest.MapFS{"0001_a.sql": first, "0002_b.sql": file("-- min_version: 2\nCREATE TABLE b (n BIGINT);")}, ""},
		{"too old a program", fstest.MapFS{"0001_a.sql": first}, `setting "database": its tables of test need a newer Nova: one that knows migration 0002`},
	} {
		err := db.Migrate(t.Context(), "test", step.files)
		if step.want == "" && err != nil || step.want != "" && (err == nil || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("%s: %v", step.name, err)
		}
	}
}

func TestOldStatementsMakeRoom(t *testing.T) {
	db, _, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	err := db.Read(t.Context(), "test", func(ctx context.Context, tx *Tx) error {
		for i := range 2 * maxStatements {
			var n int
			if err := tx.QueryRow(ctx, fmt.Sprintf(`SELECT %d`, i)).Scan(&n); err != nil || n != i {
				return fmt.Errorf("%d: %w", n, err)
			}
		}
		if n := len(tx.conn.(*conn).stmts); n > maxStatements {
			t.Errorf("%d statements are kept", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSlowOperationsAreLogged(t *testing.T) {
	var log bytes.Buffer
	db, o, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), &log)
	db.took(obs.WithCorrelation(t.Context(), "c1"), obs.AccessRead, "test.slow", 2*slow)
	db.took(t.Context(), obs.AccessRead, "test.quick", slow/2)
	if got := log.String(); !strings.Contains(got, `"op":"test.slow"`) || !strings.Contains(got, `"c1"`) || strings.Contains(got, "test.quick") {
		t.Errorf("log: %s", got)
	}
	if got := gauge(t, o, `db_operation_duration_seconds_count{kind="read",service="messaging"}`); got != "2" {
		t.Errorf("counted %s", got)
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	db, o, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	err := db.Read(t.Context(), "test", func(context.Context, *Tx) error {
		active, idle := gauge(t, o, `db_connections_active{service="messaging"}`), gauge(t, o, `db_connections_idle{service="messaging"}`)
		if active != "1" || idle != "4" {
			t.Errorf("%s active, %s idle", active, idle)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestErrorsShowNoValues(t *testing.T) {
	db, _, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	if err := db.Write(t.Context(), "test", execute(`CREATE TABLE t (name TEXT PRIMARY KEY, n BIGINT CHECK (n > 0))`)); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), "test", execute(`INSERT INTO t VALUES ($1, $2)`, "private", 1)); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]fault.Code{
		`INSERT INTO t VALUES ($1, 1)`:        fault.CodeConflict,
		`INSERT INTO t VALUES ('p' || $1, 0)`: fault.CodeInternal,
		`INSERT INTO nowhere VALUES ($1, 1)`:  fault.CodeInternal,
	} {
		err := db.Write(t.Context(), "test", execute(query, "private"))
		if !fault.Is(err, want) || strings.Contains(err.Error(), "private") || strings.Contains(err.Error(), db.engine.(*lite).path) {
			t.Errorf("%s: %v", query, err)
		}
	}
}
