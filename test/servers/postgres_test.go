package servers_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-chat/nova/test/servers"
)

// postgres connects and runs statements; the last one's first value is returned.
func postgres(t *testing.T, addr string, statements ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	var value string
	for _, s := range statements {
		rows, err := c.Query(ctx, s, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		for rows.Next() {
			value = string(rows.RawValues()[0])
		}
		if rows.Close(); rows.Err() != nil {
			t.Fatalf("%s: %v", s, rows.Err())
		}
	}
	return value
}

func TestPostgresDatabasesAreApart(t *testing.T) {
	first, second := servers.Postgres(t), servers.Postgres(t)
	postgres(t, first, "CREATE TABLE marks (n int)", "INSERT INTO marks VALUES (1)")
	if got := postgres(t, second, "SELECT to_regclass('marks') IS NULL"); got != "t" {
		t.Error("the second database has the first one's table")
	}
	if got := postgres(t, first, "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %q", got)
	}
}

func TestPostgresDatabaseIsDropped(t *testing.T) {
	var addr string
	t.Run("holder", func(t *testing.T) { addr = servers.Postgres(t) })
	if addr == "" {
		t.Skip("no PostgreSQL")
	}
	_, err := pgx.Connect(t.Context(), addr)
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || refusal.Code != "3D000" {
		t.Errorf("connecting to the dropped database: %v", err)
	}
}

func TestPostgresSurvives(t *testing.T) {
	s := servers.StartPostgres(t, servers.PostgresOptions{})
	postgres(t, s.URL, "CREATE TABLE marks (n int)")
	for _, end := range []struct {
		name string
		do   func() error
	}{
		{"kill", s.Kill},
		{"stop", s.Stop},
		{"abort", s.Abort},
		{"kill while paused", func() error { return errors.Join(s.Pause(), s.Kill()) }},
		{"stop while paused", func() error { return errors.Join(s.Pause(), s.Stop()) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			before := postgres(t, s.URL, "INSERT INTO marks VALUES (1)", "SELECT count(*)::text FROM marks")
			if err := end.do(); err != nil {
				t.Fatal(err)
			}
			if s.Running() {
				t.Error("it still runs")
			}
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			if got := postgres(t, s.URL, "SELECT count(*)::text FROM marks"); got != before {
				t.Errorf("%s rows before, %s afterwards", before, got)
			}
		})
	}
}

func TestPostgresPaused(t *testing.T) {
	s := servers.StartPostgres(t, servers.PostgresOptions{})
	c, err := pgx.Connect(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	// An open connection has a process of its own, which must stand still too.
	if err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused server's connection: %v", err)
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	postgres(t, s.URL, "SELECT 1")
}

func TestPostgresHolds(t *testing.T) {
	s := servers.StartPostgres(t, servers.PostgresOptions{})
	if err := s.Exec(t.Context(), "CREATE TABLE held AS SELECT generate_series(1, 2) AS n"); err != nil {
		t.Fatal(err)
	}
	release, err := s.Hold(t.Context(), "LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
	if err != nil {
		t.Fatal(err)
	}
	const read = "SET lock_timeout = 100; SELECT n FROM held"
	if got, err := s.Column(t.Context(), read); err == nil {
		t.Errorf("a table that is locked gave %v", got)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Column(t.Context(), read); err != nil || !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("released, it gave %v, %v", got, err)
	}
	if _, err := s.Hold(t.Context(), "LOCK TABLE nothing"); err == nil {
		t.Error("a statement that fails is no error")
	}
}

func TestPostgresOptions(t *testing.T) {
	s := servers.StartPostgres(t, servers.PostgresOptions{
		Settings: []string{"max_connections=17", "ident_file=own"},
		Files:    map[string]string{"own": "# empty\n"},
	})
	if got := postgres(t, s.URL, "SHOW max_connections"); got != "17" {
		t.Errorf("max_connections is %s", got)
	}
	if err := s.Exec(t.Context(), "CREATE TABLE made (n int)", "INSERT INTO made VALUES (4)"); err != nil {
		t.Fatal(err)
	}
	if got := postgres(t, s.URL, "SELECT n FROM made"); got != "4" {
		t.Errorf("a statement has left %q", got)
	}
	if err := s.Exec(t.Context(), "SELECT nothing", "INSERT INTO made VALUES (5)"); err == nil {
		t.Error("a statement that fails is no error")
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("postgres", "wrong")
	if _, err := pgx.Connect(t.Context(), u.String()); err == nil {
		t.Error("a wrong login is let in")
	}
}
