package sqldb

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/test/servers"
)

// admin runs statements as the superuser and gives the first column of the last.
func admin(t *testing.T, address string, statements ...string) (out string) {
	t.Helper()
	c, err := pgconn.Connect(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	for _, s := range statements {
		results, err := c.Exec(context.Background(), s).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if last := results[len(results)-1]; len(last.Rows) > 0 {
			out = string(last.Rows[0][0])
		}
	}
	return out
}

// role makes a role of this test alone and gives the address with its login.
func role(t *testing.T, address string) (name, with string) {
	t.Helper()
	name = "nova_test_" + strings.ToLower(rand.Text())
	admin(t, address, "CREATE ROLE "+name+" LOGIN PASSWORD 'letmein'")
	t.Cleanup(func() { admin(t, address, "DROP OWNED BY "+name, "DROP ROLE "+name) })
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "letmein")
	return name, u.String()
}

// tryOpen opens a database that may be refused.
func tryOpen(t *testing.T, address string) (*obs.Obs, error) {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	_, err = Open(t.Context(), o, g, Config{Service: obs.Messaging, URL: address})
	g.Stop(context.Background())
	return o, err
}

func TestWeakDurabilityIsRefused(t *testing.T) {
	address := servers.Postgres(t)
	name, weak := role(t, address)
	admin(t, address, "ALTER ROLE "+name+" SET synchronous_commit = local")
	o, err := tryOpen(t, weak)
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit is local") || fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("got %v", err)
	}
	if got := gauge(t, o, "nova_durability_strict"); got != "0" {
		t.Errorf("nova_durability_strict %s", got)
	}
	for _, good := range []string{"remote_apply", "on"} {
		admin(t, address, "ALTER ROLE "+name+" SET synchronous_commit = "+good)
		if o, err = tryOpen(t, weak); err != nil || gauge(t, o, "nova_durability_strict") != "1" {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// A connection that comes later is refused as the first is, and that shows.
func TestEachNewConnectionIsLookedAt(t *testing.T) {
	address := servers.Postgres(t)
	name, with := role(t, address)
	admin(t, address, "GRANT CREATE ON DATABASE "+databaseOf(t, address)+" TO "+name)
	db, o, _ := start(t, with, nil)
	if err := db.Migrate(t.Context(), "test", fstest.MapFS{"0001_t.sql": {Data: []byte(`CREATE TABLE t (n BIGINT)`)}}); err != nil {
		t.Fatal(err)
	}
	admin(t, address, "ALTER ROLE "+name+" SET synchronous_commit = off")
	kill := "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '" + name + "'"
	admin(t, address, kill)
	if err := db.Write(t.Context(), "test", execute(`INSERT INTO t VALUES (1)`)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("write: %v", err)
	}
	if got := gauge(t, o, "nova_durability_strict"); got != "0" {
		t.Errorf("nova_durability_strict %s", got)
	}
	admin(t, address, "ALTER ROLE "+name+" RESET synchronous_commit", kill)
	write := func() error { return db.Write(t.Context(), "test", execute(`INSERT INTO t VALUES (1)`)) }
	eventually(t, write)
	if got := gauge(t, o, "nova_durability_strict"); got != "1" {
		t.Errorf("nova_durability_strict %s", got)
	}
}

func databaseOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

func TestWhatCannotBeOpened(t *testing.T) {
	address := servers.Postgres(t)
	name, with := role(t, address)
	closed, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	change := func(from string, fn func(u *url.URL)) string {
		u, err := url.Parse(from)
		if err != nil {
			t.Fatal(err)
		}
		fn(u)
		return u.String()
	}
	query := func(from, name, value string) string {
		return change(from, func(u *url.URL) {
			q := u.Query()
			q.Set(name, value)
			u.RawQuery = q.Encode()
		})
	}
	for title, c := range map[string]struct {
		url  string
		want string // "" = unavailable: try again
	}{
		"nobody listens":         {change(with, func(u *url.URL) { u.Host = fmt.Sprintf("127.0.0.1:%d", closed) }), ""},
		"wrong proof":            {change(with, func(u *url.URL) { u.User = url.UserPassword(name, "canary") }), "refuses the login"},
		"unknown role":           {change(with, func(u *url.URL) { u.User = url.UserPassword(name+"x", "canary") }), "refuses the login"},
		"no such database":       {change(with, func(u *url.URL) { u.Path = "/canary" }), "does not exist"},
		"no encryption there":    {query(with, "sslmode", "verify-full"), "cannot be encrypted"},
		"no address":             {"postgres://canary:canary@:::/x", "not understood"},
		"an option nobody knows": {query(with, "nonsense", "1"), "options"},
		"only standbys wanted":   {query(with, "target_session_attrs", "standby"), ""},
		"writable wanted":        {query(with, "target_session_attrs", "read-write"), "fine"},
	} {
		t.Run(title, func(t *testing.T) {
			_, err := tryOpen(t, c.url)
			switch {
			case c.want == "fine":
				if err != nil {
					t.Error(err)
				}
				return
			case c.want == "" && !fault.Is(err, fault.CodeUnavailable):
				t.Errorf("got %v", err)
			case c.want != "" && (err == nil || fault.Is(err, fault.CodeUnavailable) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"database"`)):
				t.Errorf("got %v", err)
			}
			for _, secret := range []string{"canary", "letmein", name, "127.0.0.1"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows %s: %v", secret, err)
				}
			}
		})
	}
}

func TestNoRightToMakeTheSchema(t *testing.T) {
	address := servers.Postgres(t)
	name, with := role(t, address)
	db, _, _ := start(t, with, nil)
	files := fstest.MapFS{"0001_t.sql": {Data: []byte(`CREATE TABLE t (n BIGINT)`)}}
	err := db.Migrate(t.Context(), "test", files)
	if err == nil || fault.Is(err, fault.CodeUnavailable) || !strings.Contains(err.Error(), `"database"`) {
		t.Errorf("got %v", err)
	}
	admin(t, address, "CREATE SCHEMA messaging AUTHORIZATION "+name)
	if err := db.Migrate(t.Context(), "test", files); err != nil {
		t.Errorf("in a schema that is there: %v", err)
	}
}

func TestSessionsAreSetAndReadBack(t *testing.T) {
	address := servers.Postgres(t)
	name, with := role(t, address)
	admin(t, address, "ALTER ROLE "+name+" SET statement_timeout = 0", "ALTER ROLE "+name+" SET default_transaction_isolation = serializable")
	db, _, _ := start(t, with, nil)
	for kind, do := range map[string]func(context.Context, string, func(context.Context, *Tx) error) error{"read": db.Read, "write": db.Write} {
		got := map[string]string{}
		err := do(t.Context(), "test", func(ctx context.Context, tx *Tx) error {
			for _, s := range []string{"search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "tcp_user_timeout", "default_transaction_isolation", "transaction_read_only"} {
				var value string
				if err := tx.QueryRow(ctx, `SELECT current_setting($1)`, s).Scan(&value); err != nil {
					return err
				}
				got[s] = value
			}
			return nil
		})
		readOnly := map[string]string{"read": "on", "write": "off"}[kind]
		want := map[string]string{
			"search_path": `"messaging"`, "statement_timeout": "700ms", "lock_timeout": "650ms", "idle_in_transaction_session_timeout": "500ms",
			"tcp_user_timeout": "900", "default_transaction_isolation": "read committed", "transaction_read_only": readOnly,
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", kind, err, diff)
		}
	}
}

func TestServersThatDoNotSuit(t *testing.T) {
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	e := &postgres{db: &DB{obs: o, log: o.Log(obs.Messaging)}}
	settings := []pgSetting{{"search_path", "x"}}
	good := []string{"x", "on", "on", "on", "off", "150003", "UTF8", "false", "7/1"}
	if err := e.judge(settings, good); err != nil {
		t.Error(err)
	}
	for at, c := range map[int]struct{ value, want string }{
		0: {"y", "search_path"}, 1: {"off", "fsync"}, 2: {"off", "full_page_writes"}, 3: {"off", "synchronous_commit"},
		4: {"on", "data_sync_retry"}, 5: {"140011", "PostgreSQL 14"}, 6: {"LATIN1", "UTF8"}, 7: {"true", "standby"}, 8: {"7/2", "promoted"},
	} {
		got := append([]string(nil), good...)
		got[at] = c.value
		if err := e.judge(settings, got); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
	if err := e.judge(settings, good); err != nil {
		t.Error(err)
	}
}

func TestErrorsOfTheServerShowNoValues(t *testing.T) {
	var log bytes.Buffer
	db, _, _ := start(t, servers.Postgres(t), &log)
	file := fstest.MapFS{"0001_t.sql": {Data: []byte(`CREATE TABLE t (name TEXT PRIMARY KEY, n BIGINT CHECK (n > 0))`)}}
	if err := db.Migrate(t.Context(), "test", file); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), "test", execute(`INSERT INTO t VALUES ($1, $2)`, "private", 1)); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]fault.Code{
		`INSERT INTO t VALUES ($1, 1)`:                         fault.CodeConflict,
		`INSERT INTO t VALUES ('p' || $1, 0)`:                  fault.CodeInternal,
		`INSERT INTO nowhere VALUES ($1, 1)`:                   fault.CodeInternal,
		`INSERT INTO t VALUES ('x', CAST($1::text AS BIGINT))`: fault.CodeInternal,
	} {
		err := db.Write(t.Context(), "test", execute(query, "private"))
		if !fault.Is(err, want) || strings.Contains(err.Error(), "private") {
			t.Errorf("%s: %v", query, err)
		}
	}
	if strings.Contains(log.String(), "private") {
		t.Errorf("log: %s", log.String())
	}
}

func TestPortable(t *testing.T) {
	for text, want := range map[string]string{
		"a INTEGER, b int, c TEXT NOT NULL, d BLOB": `a BIGINT, b BIGINT, c TEXT COLLATE "C" NOT NULL, d BYTEA`,
		"pointer POINT, context TEXTUAL, print":     "pointer POINT, context TEXTUAL, print",
		"-- INTEGER text\nTEXT 'TEXT' \"INT\"":      "-- INTEGER text\nTEXT COLLATE \"C\" 'TEXT' \"INT\"",
		"/* TEXT */ - INT / TEXT":                   `/* TEXT */ - BIGINT / TEXT COLLATE "C"`,
		"'open TEXT":                                "'open TEXT",
	} {
		if diff := cmp.Diff(want, portable(text)); diff != "" {
			t.Error(diff)
		}
	}
}
