package sqldb

import (
	"context"
	"testing"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/test/servers"
)

// What a commit left on the primary alone, because its wait for the standby was cut
// short, may be found by others. That they found it must not be answered as safe.
func TestWhatIsFoundWaitsForTheStandbyToo(t *testing.T) {
	server, err := servers.NewPostgres(servers.PostgresOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	db, _, _ := start(t, server.URL, nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	n, found := 0, 0
	look := func(ctx context.Context, tx *Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM t WHERE n = $1`, n).Scan(&found)
	}
	if err := db.Write(t.Context(), "test", look); err != nil {
		t.Errorf("without a standby to wait for: %v", err)
	}
	set := func(statements ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), statements...); err != nil {
			t.Fatal(err)
		}
	}
	set(`ALTER SYSTEM SET synchronous_standby_names = 'nobody'`, `SELECT pg_reload_conf()`)
	eventually(t, func() error { // until the server has read it
		n++
		if err := db.Write(t.Context(), "test", put(n)); !fault.Is(err, fault.CodeUnavailable) {
			return fault.New(fault.CodeInternal, "it does not wait yet")
		}
		return nil
	})
	if err := server.Stop(); err != nil { // which ends the wait; the row is there
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if err := db.Write(t.Context(), "test", look); !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("found %d: %v", found, err)
		}
		if found != 1 {
			return fault.New(fault.CodeInternal, "it is not back yet")
		}
		return nil
	})
	set(`ALTER SYSTEM RESET synchronous_standby_names`, `SELECT pg_reload_conf()`)
	eventually(t, func() error { return db.Write(t.Context(), "test", look) })
}
