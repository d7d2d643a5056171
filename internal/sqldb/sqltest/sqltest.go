package sqltest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
)

// stopTime is enough for any test's database.
const stopTime = 20 * time.Second

// Each runs fn on a new, empty database of each engine. The database is
// stopped after fn, and the test fails if that does.
func Each(t *testing.T, fn func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		fn(t, Open(t, filepath.Join(t.TempDir(), "nova.db")))
	})
}

// Open opens the SQLite database at path until the end of the test.
func Open(tb testing.TB, path string) *sqldb.DB {
	tb.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return OpenWith(tb, o, path)
}

// OpenWith is Open with metrics and a log that the test looks at.
func OpenWith(tb testing.TB, o *obs.Obs, path string) *sqldb.DB {
	tb.Helper()
	g := run.New(o)
	db, err := sqldb.Open(context.Background(), o, g, sqldb.Config{Service: obs.Messaging, URL: "sqlite:" + path})
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
