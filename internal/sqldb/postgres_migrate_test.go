package sqldb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/test/servers"
)

// Several nodes may start at once on an empty database.
func TestNodesMigrateOneAfterTheOther(t *testing.T) {
	address := servers.Postgres(t)
	files := fstest.MapFS{}
	for i := range 5 {
		files[fmt.Sprintf("%04d_t.sql", i+1)] = &fstest.MapFile{Data: fmt.Appendf(nil, "CREATE TABLE t%d (n BIGINT); INSERT INTO t%d VALUES (1);", i, i)}
	}
	var wg sync.WaitGroup
	for range 3 {
		db, _, _ := start(t, address, nil)
		wg.Go(func() {
			if err := db.Migrate(context.Background(), "test", files); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := admin(t, address, `SELECT count(*) FROM messaging.schema_migrations`); got != "5" {
		t.Errorf("%s migrations are noted", got)
	}
	if got := admin(t, address, `SELECT count(*) FROM messaging.t4`); got != "1" {
		t.Errorf("the last was applied %s times", got)
	}
}

// TestAMigrationLosesNothing: what another node commits while a table is copied is in
// the copy, or was refused.
func TestAMigrationLosesNothing(t *testing.T) {
	address := servers.Postgres(t)
	first := &fstest.MapFile{Data: []byte(`CREATE TABLE t (n BIGINT PRIMARY KEY)`)}
	copied := &fstest.MapFile{Data: []byte(`CREATE TABLE c (n BIGINT PRIMARY KEY); INSERT INTO c SELECT n FROM t; SELECT pg_sleep(0.3); DROP TABLE t; ALTER TABLE c RENAME TO t;`)}
	old, _, _ := start(t, address, nil)
	if err := old.Migrate(t.Context(), "test", fstest.MapFS{"0001_t.sql": first}); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	var committed []int
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			default:
			}
			err := old.Write(context.Background(), "test", func(ctx context.Context, tx *Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO t (n) VALUES ($1)`, n)
				return err
			})
			if err == nil {
				committed = append(committed, n)
			}
		}
	})
	time.Sleep(50 * time.Millisecond)
	fresh, _, _ := start(t, address, nil)
	err := fresh.Migrate(t.Context(), "test", fstest.MapFS{"0001_t.sql": first, "0002_copy.sql": copied})
	time.Sleep(50 * time.Millisecond)
	close(over)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	there := "," + admin(t, address, `SELECT string_agg(n::text, ',') FROM messaging.t`) + ","
	for _, n := range committed {
		if !strings.Contains(there, fmt.Sprintf(",%d,", n)) {
			t.Fatalf("%d was committed and is gone, of %d", n, len(committed))
		}
	}
	if len(committed) == 0 {
		t.Error("nothing was committed")
	}
}

// TestAMigrationHasTime: a large table takes longer to copy than a request may.
func TestAMigrationHasTime(t *testing.T) {
	db, _, _ := start(t, "sqlite:"+filepath.Join(t.TempDir(), "nova.db"), nil)
	err := db.engine.migrating(t.Context(), db, func(write transact) error {
		return write(t.Context(), func(ctx context.Context, _ *Tx) error {
			if end, ok := ctx.Deadline(); ok && time.Until(end) < migrateTime/2 {
				t.Errorf("it has %v", time.Until(end))
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTwoVersionsSideBySide: a node of before an upgrade works on, and can come
// back, until the tables say that it cannot work with them.
func TestTwoVersionsSideBySide(t *testing.T) {
	address := servers.Postgres(t)
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	first := fstest.MapFS{"0001_t.sql": file(`CREATE TABLE t (n BIGINT PRIMARY KEY)`)}
	expanded := fstest.MapFS{"0001_t.sql": first["0001_t.sql"], "0002_note.sql": file(`ALTER TABLE t ADD COLUMN note TEXT NOT NULL DEFAULT ''; CREATE TABLE u (n BIGINT)`)}
	contracted := fstest.MapFS{"0003_gone.sql": file("-- min_version: 2\nALTER TABLE t ALTER COLUMN note DROP DEFAULT")}
	maps.Copy(contracted, expanded)
	node := func(files fstest.MapFS) (*DB, func() run.Report, error) {
		db, _, stop := start(t, address, nil)
		return db, stop, db.Migrate(t.Context(), "test", files)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	old, stopOld, err := node(first)
	must(err)
	stop, done := make(chan struct{}), make(chan int)
	go func() { // the old one writes and reads all the time
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			err := old.Write(context.Background(), "test", func(ctx context.Context, tx *Tx) error {
				return tx.Insert(ctx, "t", []string{"n"}, []any{n})
			})
			if err := errors.Join(err, old.Read(context.Background(), "test", execute(`SELECT n FROM t WHERE n = $1`, n))); err != nil {
				t.Errorf("the old node: %v", err)
			}
		}
	}()
	newer, _, err := node(expanded)
	must(err)
	must(newer.Write(t.Context(), "test", execute(`INSERT INTO t (n, note) VALUES (-1, 'new')`)))
	close(stop)
	if n := <-done; n == 0 {
		t.Error("the old node wrote nothing meanwhile")
	}
	stopOld()
	again, _, err := node(first)
	must(err)
	must(again.Write(t.Context(), "test", execute(`INSERT INTO t (n) VALUES (-2)`)))
	_, _, err = node(contracted)
	must(err)
	_, _, err = node(first)
	if m, ok := errors.AsType[*misfit](err); !ok || !strings.Contains(m.Error(), "knows migration 0002, this one ends at 0001") {
		t.Errorf("below min_version: %v", err)
	}
	_, _, err = node(expanded)
	must(err)
}

// A service called user has a schema whose name is a reserved word; services
// share a database and see nothing of each other.
func TestServicesHaveSchemasOfTheirOwn(t *testing.T) {
	address := servers.Postgres(t)
	for _, service := range []obs.Service{obs.User, obs.Auth} {
		o, err := obs.New(obs.Config{})
		if err != nil {
			t.Fatal(err)
		}
		g := run.New(o)
		db, err := Open(t.Context(), o, g, Config{Service: service, URL: address})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Stop(context.Background())
		if err := db.Migrate(t.Context(), "test", numbers); err != nil {
			t.Fatal(err)
		}
		if err := db.Write(t.Context(), "test", put(1)); err != nil {
			t.Error(err)
		}
	}
	if got := admin(t, address, `SELECT (SELECT count(*) FROM "user".t) || ' ' || (SELECT count(*) FROM auth.t)`); got != "1 1" {
		t.Errorf("stored %s", got)
	}
}

// Numbers have 64 bits and texts are compared by their bytes, whatever the
// database was made with.
func TestTypesAreThoseOfSQLite(t *testing.T) {
	db, _, _ := start(t, servers.Postgres(t), nil)
	file := fstest.MapFS{"0001_t.sql": {Data: []byte(`CREATE TABLE t (n INTEGER PRIMARY KEY, name TEXT NOT NULL)`)}}
	if err := db.Migrate(t.Context(), "test", file); err != nil {
		t.Fatal(err)
	}
	err := db.Write(t.Context(), "test", func(ctx context.Context, tx *Tx) error {
		return tx.Insert(ctx, "t", []string{"n", "name"}, []any{int64(1) << 60, "a", 2, "B", 3, "_", 4, "ä", 5, "Z"})
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = db.Read(t.Context(), "test", func(ctx context.Context, tx *Tx) error {
		rows, err := tx.Query(ctx, `SELECT name FROM t ORDER BY name`)
		if err != nil {
			return err
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return err
			}
			got = append(got, s)
		}
		return rows.Err()
	})
	if diff := cmp.Diff([]string{"B", "Z", "_", "a", "ä"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestIdentityAndConnections(t *testing.T) {
	address := servers.Postgres(t)
	_, with := role(t, address)
	a, _, _ := start(t, with, nil)
	b, _, _ := start(t, address, nil)
	first, err := a.SystemIdentity(t.Context())
	second, err2 := b.SystemIdentity(t.Context())
	if err != nil || err2 != nil || first != second || !strings.HasSuffix(first, "/00000001") {
		t.Errorf("%q %q %v %v", first, second, err, err2)
	}
	allowed, server, err := a.ServerConnections(t.Context())
	if err != nil || allowed < 50 || !strings.HasPrefix(first, server+"/") {
		t.Errorf("%d on %q, %v", allowed, server, err)
	}
	if a.MaxConnections() != defaultReadConns+3 {
		t.Errorf("at most %d", a.MaxConnections())
	}
}
