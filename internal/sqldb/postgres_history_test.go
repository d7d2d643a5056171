package sqldb

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/test/servers"
)

// TestAnotherHistoryIsNotGoneOnWith: a restart of the server changes nothing. A
// standby that takes over may lack what was committed last, so nothing more is
// written by who remembers that; a new process begins with what is there.
func TestAnotherHistoryIsNotGoneOnWith(t *testing.T) {
	primary := servers.StartPostgres(t, servers.PostgresOptions{})
	standby := servers.StartStandby(t, primary)
	u, err := url.Parse(primary.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host += "," + standby.Addr
	address := u.String() + "&target_session_attrs=read-write"
	db, o, _ := start(t, address, nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	before, err := db.SystemIdentity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(primary.Abort(), primary.Start()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return db.Write(t.Context(), "test", put(1)) })
	end := admin(t, primary.URL, `SELECT pg_current_wal_lsn()`)
	eventually(t, func() error {
		if got := admin(t, standby.URL, `SELECT pg_last_wal_replay_lsn() >= '`+end+`'`); got != "t" {
			return errors.New("the standby is behind")
		}
		return nil
	})
	if err := errors.Join(primary.Kill(), standby.Promote()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if err := db.Write(t.Context(), "test", put(2)); !fault.Is(err, fault.CodeUnavailable) {
			t.Fatalf("written to another history: %v", err)
		}
		if db.Broken() == nil {
			return errors.New("not noticed")
		}
		return nil
	})
	if err := db.Write(t.Context(), "test", put(3)); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("afterwards: %v", err)
	}
	if got := gauge(t, o, "nova_durability_strict"); got != "1" {
		t.Errorf("nova_durability_strict %s, though no fsync failed", got)
	}
	again, _, _ := start(t, address, nil)
	if err := again.Write(t.Context(), "test", put(4)); err != nil {
		t.Error(err)
	}
	after, err := again.SystemIdentity(t.Context())
	system, _, _ := strings.Cut(before, "/")
	if err != nil || after == before || !strings.HasPrefix(after, system+"/") {
		t.Errorf("identity %q, was %q, %v", after, before, err)
	}
	if got := stored(t, standby.URL); got != "1 4" {
		t.Errorf("stored %q", got)
	}
}
