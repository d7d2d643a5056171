package sqltest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/test/servers"
)

// stopTime is enough for any test's database.
const stopTime = 20 * time.Second

// Main runs the tests of a package that uses this one, and looks for goroutines
// that they left. It knows those of the servers of the tests.
func Main(m *testing.M) {
	goleak.VerifyTestMain(tests{m}, goleak.IgnoreAnyFunction("github.com/nova-chat/nova/test/servers.(*Server).start.func2"))
}

// tests are those of a package, and what is dropped after them.
type tests struct{ *testing.M }

// Run is part of goleak.TestingM.
func (t tests) Run() int {
	defer clean()
	return t.M.Run()
}

// Each runs fn on a new, empty database of each engine. The database is
// stopped after fn, and the test fails if that does.
func Each(t *testing.T, fn func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	EachURL(t, func(t *testing.T, url string) { fn(t, Open(t, url)) })
}

// EachURL is Each for tests that open the database themselves. A PostgreSQL
// that is missing fails the test in CI, and leaves its part out elsewhere.
func EachURL(t *testing.T, fn func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { fn(t, servers.Postgres(t)) })
}

// SQLite is the address of a new database in a file.
func SQLite(tb testing.TB) string {
	tb.Helper()
	return "sqlite:" + filepath.Join(tb.TempDir(), "nova.db")
}

// Open opens the database at an address until the end of the test.
func Open(tb testing.TB, url string) *sqldb.DB {
	tb.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return OpenWith(tb, o, url)
}

// OpenWith is Open with metrics and a log that the test looks at.
func OpenWith(tb testing.TB, o *obs.Obs, url string) *sqldb.DB {
	tb.Helper()
	g := run.New(o)
	db, err := sqldb.Open(context.Background(), o, g, sqldb.Config{Service: obs.Messaging, URL: url})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		report := g.Stop(ctx)
		if err := report.Err(); err != nil || report.GoroutinesLeft > 0 {
			tb.Errorf("stop: %v; left %v", err, report.Left)
		}
	})
	return db
}
