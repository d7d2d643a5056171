package sqldb

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/test/servers"
)

// claimant is a process that wants a name.
type claimant struct {
	db   *DB
	g    *run.Group
	lost chan struct{}
}

func newClaimant(t *testing.T, address string) *claimant {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := &claimant{g: run.New(o), lost: make(chan struct{}, 1)}
	t.Cleanup(func() { c.stop() })
	if c.db, err = Open(t.Context(), o, c.g, Config{Service: obs.Messaging, URL: address}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *claimant) stop() { c.g.Stop(context.Background()) }

func (c *claimant) claim(t *testing.T, wait time.Duration) error {
	t.Helper()
	return c.db.Claim(t.Context(), c.g, Claim{Name: "node X", Wait: wait, Lost: func() { c.lost <- struct{}{} }})
}

func TestANameHasOneClaimant(t *testing.T) {
	t.Parallel()
	address := servers.Postgres(t)
	first, second := newClaimant(t, address), newClaimant(t, address)
	if err := first.claim(t, 0); err != nil {
		t.Fatal(err)
	}
	if err := second.claim(t, 0); !errors.Is(err, ErrClaimed) {
		t.Fatalf("the second got %v", err)
	}
	first.stop()
	if err := second.claim(t, 0); err != nil {
		t.Errorf("the first has stopped, and the second got %v", err)
	}
}

// TestAClaimEndsWithItsProcess, and one that was only cut off finds, when it is
// back, that it has lost the name.
func TestAClaimEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	address := servers.Postgres(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	way := servers.StartProxy(t, u.Host)
	u.Host = way.Addr
	first, second := newClaimant(t, u.String()), newClaimant(t, address)
	if err := first.claim(t, 0); err != nil {
		t.Fatal(err)
	}
	if err := way.Refuse(); err != nil {
		t.Fatal(err)
	}
	if err := second.claim(t, claimFor); err != nil {
		t.Fatalf("the second got %v", err)
	}
	if err := way.Restore(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.lost:
	case <-time.After(20 * time.Second):
		t.Error("the first does not know that it lost the name")
	}
}

// TestAClaimEndsWithoutASignOfLife, as of a process that was stopped: its
// connection stands.
func TestAClaimEndsWithoutASignOfLife(t *testing.T) {
	t.Parallel()
	address := servers.Postgres(t)
	first, second := newClaimant(t, address), newClaimant(t, address)
	silent := Claim{Name: "node X", engine: first.db.engine.(*postgres)}
	if err := silent.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.claim(t, 2*claimFor); err != nil {
		t.Errorf("the second got %v", err)
	}
	if err := silent.link.close(); err != nil {
		t.Error(err)
	}
}

// TestAClaimSurvivesARestartOfTheServer, as long as nobody else wants it.
func TestAClaimSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	server := servers.StartPostgres(t, servers.PostgresOptions{})
	first, second := newClaimant(t, server.URL), newClaimant(t, server.URL)
	if err := first.claim(t, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(server.Kill(), server.Start()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { // until then the name is free
		if n := admin(t, server.URL, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted`); n != "1" {
			return errors.New("the name is not claimed again")
		}
		return nil
	})
	if err := second.claim(t, 0); !errors.Is(err, ErrClaimed) {
		t.Errorf("the second got %v", err)
	}
	if len(first.lost) > 0 {
		t.Error("the first believes that it lost the name")
	}
}
