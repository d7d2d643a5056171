package user

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/test/servers"
)

// onBothEngines runs a test with two nodes, each with connections of its own to
// one database: a SQLite file, and PostgreSQL.
func onBothEngines(t *testing.T, fn func(t *testing.T, a, b *rig)) {
	pair := func(t *testing.T, url string) {
		auth := &accounts{known: map[string]*authpb.Account{}}
		fn(t, newNode(t, url, auth), newNode(t, url, auth))
	}
	t.Run("sqlite", func(t *testing.T) { pair(t, "sqlite:"+filepath.Join(t.TempDir(), "user.db")) })
	t.Run("postgres", func(t *testing.T) { pair(t, servers.Postgres(t)) })
}

func (r *rig) count(query string) (n int) {
	r.t.Helper()
	r.must(r.db.Read(r.t.Context(), "test.count", func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, query).Scan(&n)
	}))
	return n
}

// TestEventAndFirstReadsMeet lets the event arrive on one node while both are
// asked for the profiles, many at once and in no order.
func TestEventAndFirstReadsMeet(t *testing.T) {
	onBothEngines(t, func(t *testing.T, a, b *rig) {
		var known []*authpb.Account
		var ids []string
		for i := range 20 {
			known = append(known, a.account(fmt.Sprintf("user-%02d", i), "Name"))
			ids = append(ids, known[i].GetId())
		}
		var wg sync.WaitGroup
		for i, one := range known {
			wg.Go(func() {
				on := []*rig{a, b}[i%2]
				if err := on.svc.onRegistered(context.Background(), event(one)); err != nil {
					t.Error(err)
				}
			})
			for _, on := range []*rig{a, b} {
				wg.Go(func() {
					found, err := on.svc.profiles(context.Background(), ids[i/2:])
					if err != nil || len(found) != len(ids)-i/2 {
						t.Errorf("%d profiles of %d, %v", len(found), len(ids)-i/2, err)
					}
				})
			}
		}
		wg.Wait()
		if n := a.count(`SELECT COUNT(*) FROM profiles`); n != len(known) {
			t.Errorf("%d profiles, want %d", n, len(known))
		}
	})
}

// TestAnEventOnEveryNodeIsAppliedOnce is what a rebalance of consumers does.
func TestAnEventOnEveryNodeIsAppliedOnce(t *testing.T) {
	onBothEngines(t, func(t *testing.T, a, b *rig) {
		e := event(a.account("alice", "Alice"))
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if err := []*rig{a, b}[i%2].svc.onRegistered(context.Background(), e); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := a.count(`SELECT COUNT(*) FROM profiles`); n != 1 {
			t.Errorf("%d profiles, want 1", n)
		}
	})
}

// TestFirstReadGivesWhatIsKept: the other node has made the profile, and its
// owner has changed it, between the look into the store and auth's word.
func TestFirstReadGivesWhatIsKept(t *testing.T) {
	onBothEngines(t, func(t *testing.T, a, b *rig) {
		alice := a.account("alice", "Alice")
		b.want(200, "", alice, "PATCH", "/me", `{"display_name":"Queen"}`)
		got, err := a.svc.firstRead(t.Context(), map[string]bool{alice.GetId(): true})
		a.must(err)
		if len(got) != 1 || got[0].displayName != "Queen" {
			t.Errorf("got %v, want what the owner has set", got)
		}
	})
}
