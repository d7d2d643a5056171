package auth

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/servers"
)

// onBothEngines runs a test with two nodes, each with connections of its own to
// one database: a SQLite file, and PostgreSQL.
func onBothEngines(t *testing.T, cfg Config, fn func(t *testing.T, a, b *rig)) {
	t.Run("sqlite", func(t *testing.T) {
		at := node{dir: t.TempDir(), seal: newSeal()}
		fn(t, newNode(t, at, cfg), newNode(t, at, cfg))
	})
	t.Run("postgres", func(t *testing.T) {
		at := node{dir: t.TempDir(), seal: newSeal(), url: servers.Postgres(t)}
		fn(t, newNode(t, at, cfg), newNode(t, at, cfg))
	})
}

// both runs fn n times on each node, all at once.
func (r *rig) both(other *rig, n int, fn func(on *rig, i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(r, 2*i) })
		wg.Go(func() { fn(other, 2*i+1) })
	}
	wg.Wait()
}

func TestNodesThatStartAtOnceAgree(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		a.exec(`DELETE FROM sealed_keys`)
		var mu sync.Mutex
		var started []*Service
		a.both(b, 4, func(on *rig, _ int) {
			s, err := New(on.svc.deps)
			if err != nil {
				panic(err)
			}
			s.shared = true
			if err := s.openKeys(context.Background()); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			started = append(started, s)
		})
		for _, s := range started {
			if !bytes.Equal(s.ring().jwks, started[0].ring().jwks) || !bytes.Equal(s.ring().derive, started[0].ring().derive) {
				t.Fatal("different keys")
			}
		}
		if n := a.count(`SELECT COUNT(*) FROM sealed_keys`); n != 2 || len(started) != 8 {
			t.Errorf("%d rows, want one to sign and one to derive; %d started", n, len(started))
		}
	})
}

func TestProofsHoldOnEveryNode(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		proof := a.register("alice", "laptop")
		if !b.alive(proof.text("access_token")) {
			t.Error("the access proof is refused on the other node")
		}
		next := b.refresh(proof.text("refresh_token"))
		if next.status != 200 || a.refresh(next.text("refresh_token")).status != 200 {
			t.Error("the refresh proof does not go round")
		}
	})
}

func TestNodesRotateOnceAndLearnOfIt(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		later := time.Now().Add(rotateEvery)
		a.both(b, 3, func(on *rig, _ int) {
			if err := on.svc.turnKeys(context.Background(), later); err != nil {
				t.Error(err)
			}
		})
		if n := a.count(`SELECT COUNT(*) FROM sealed_keys WHERE purpose = 'sign'`); n != 2 {
			t.Fatalf("%d that sign, want 2", n)
		}
		a.exec(`DELETE FROM sealed_keys WHERE created_ms = $1`, later.UnixMilli()) // an operator
		stale := *b.svc.ring()
		stale.readAt = time.Time{}
		b.svc.keys.Store(&stale)
		out, err := b.client.Keys(t.Context(), &authpb.KeysRequest{})
		b.must(err)
		if strings.Count(string(out.GetJwks()), `"kid"`) != 1 {
			t.Errorf("the other node still gives %s", out.GetJwks())
		}
		a.exec(`DELETE FROM sealed_keys WHERE purpose = 'sign'`) // all of them, for they are in wrong hands
		gone := a.svc.ring().signs
		a.both(b, 1, func(on *rig, _ int) {
			if err := on.svc.turnKeys(context.Background(), time.Now()); err != nil {
				t.Error(err)
			}
		})
		if x, y := a.svc.ring(), b.svc.ring(); x.signs != y.signs || x.signs == gone || len(x.public) != 1 {
			t.Error("want one new one at once on both nodes")
		}
	})
}

func TestATicketIsRedeemedOnceOnAnyNode(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		access := a.register("alice", "laptop").text("access_token")
		for range 5 {
			ticket := a.want(200, "", "POST", "auth/ticket", access, nil).text("ticket")
			var redeemed atomic.Int64
			a.both(b, 5, func(on *rig, _ int) {
				if _, ok, err := on.svc.redeem(context.Background(), obs.NewSecret(ticket)); err != nil {
					t.Error(err)
				} else if ok {
					redeemed.Add(1)
				}
			})
			if n := redeemed.Load(); n != 1 {
				t.Fatalf("redeemed %d times", n)
			}
		}
	})
}

// TestTheLogOfAllNodesHasNoHoles follows the log on one node while both end
// sessions: whoever follows by position must meet every one, in order.
func TestTheLogOfAllNodesHasNoHoles(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		const each = 20
		logins := make([]reply, 2*each)
		a.both(b, each, func(on *rig, i int) { logins[i] = on.register(fmt.Sprintf("user-%d", i), "laptop") })
		got := make(chan []string)
		go func() {
			var met []string
			for after := int64(0); len(met) < len(logins); {
				out := a.poll(after, 20_000)
				for _, item := range out.GetItems() {
					if item.GetPos() != after+1 {
						t.Errorf("position %d after %d", item.GetPos(), after)
					}
					after = item.GetPos()
					met = append(met, item.GetSessionId())
				}
				if out.GetLast() != after || len(out.GetItems()) == 0 {
					t.Errorf("last %d after %d, %d items", out.GetLast(), after, len(out.GetItems()))
					break
				}
			}
			got <- met
		}()
		a.both(b, each, func(on *rig, i int) { on.call("POST", "auth/logout", logins[i].text("access_token"), nil) })
		met := <-got
		slices.Sort(met)
		if n := len(slices.Compact(met)); n != len(logins) {
			t.Errorf("met %d sessions of %d", n, len(logins))
		}
	})
}

func TestNobodyLooksWhereNobodyElseWrites(t *testing.T) {
	r := newRig(t, cheap())
	r.poll(0, 2*recheck.Milliseconds())
	if r.svc.others.pause(time.Now()) != 0 || !r.svc.others.turn(time.Now()) || r.svc.others.turn(time.Now()) {
		t.Error("somebody looked, or two may look at once")
	}
}

func TestALogThatWentBackIsReadFromItsBeginning(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	r.want(204, "", "POST", "auth/logout", a.text("access_token"), nil)
	if out := r.poll(1000, 60_000); len(out.GetItems()) != 1 || out.GetLast() != 1 {
		t.Errorf("got %v", out)
	}
}

func TestRefreshesOnBothNodesGiveOneSuccessor(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		proof := a.register("alice", "laptop").text("refresh_token")
		for range 3 {
			got := make([]string, 20)
			a.both(b, 10, func(on *rig, i int) { got[i] = on.refresh(proof).text("refresh_token") })
			for _, s := range got {
				if s == "" || s != got[0] {
					t.Fatalf("different successors: %q", got)
				}
			}
			proof = got[0]
		}
	})
}

func TestReuseIsNoticedOnTheOtherNode(t *testing.T) {
	cfg := cheap()
	cfg.Grace = time.Nanosecond
	onBothEngines(t, cfg, func(t *testing.T, a, b *rig) {
		first := a.register("alice", "laptop")
		last := a.refresh(first.text("refresh_token"))
		var granted atomic.Int64
		a.both(b, 5, func(on *rig, _ int) {
			if on.refresh(first.text("refresh_token")).status == 200 {
				granted.Add(1)
			}
		})
		if granted.Load() != 0 || a.refresh(last.text("refresh_token")).status != 401 || b.refresh(last.text("refresh_token")).status != 401 {
			t.Error("the family lives on")
		}
		if n := a.count(`SELECT COUNT(*) FROM revocations`); n != 1 {
			t.Errorf("%d revocations, want 1", n)
		}
	})
}

func TestADeviceHasOneSessionOnAllNodes(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		a.register("alice", "laptop")
		const each = 10
		a.both(b, each, func(on *rig, _ int) {
			if got := on.call("POST", "auth/login", "", try("alice", password, "laptop")); got.status != 200 {
				t.Error(got.raw)
			}
		})
		if s, n := a.count(`SELECT COUNT(*) FROM sessions`), a.count(`SELECT COUNT(*) FROM revocations`); s != 1 || n != 2*each {
			t.Errorf("%d sessions, %d revocations", s, n)
		}
	})
}

func TestAnAccountHasAtMostFiftySessionsOnAllNodes(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		a.register("alice", "laptop")
		a.both(b, 30, func(on *rig, i int) {
			if got := on.call("POST", "auth/login", "", try("alice", password, fmt.Sprintf("d%d", i))); got.status != 200 {
				t.Error(got.raw)
			}
		})
		if s, n := a.count(`SELECT COUNT(*) FROM sessions`), a.count(`SELECT COUNT(*) FROM revocations`); s != maxSessions || n != 11 {
			t.Errorf("%d sessions, %d revocations", s, n)
		}
	})
}

func TestANameIsRegisteredOnce(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		for round := range 3 {
			name := fmt.Sprintf("alice-%d", round)
			var made, taken atomic.Int64
			a.both(b, 5, func(on *rig, i int) {
				switch got := on.call("POST", "auth/register", "", try(name, password, fmt.Sprintf("d%d", i))); got.status {
				case 201:
					made.Add(1)
				case 409:
					taken.Add(1)
				default:
					t.Error(got.raw)
				}
			})
			if made.Load() != 1 || taken.Load() != 9 {
				t.Errorf("%d made, %d refused", made.Load(), taken.Load())
			}
		}
		if n, e, s := a.count(`SELECT COUNT(*) FROM accounts`), a.count(`SELECT taken FROM positions`), a.count(`SELECT COUNT(*) FROM sessions`); n != 3 || e != 3 || s != 3 {
			t.Errorf("%d accounts, %d events, %d sessions", n, e, s)
		}
	})
}

func TestFailuresCountOnAllNodes(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		a.register("alice", "laptop")
		a.both(b, freeFailures/2, func(on *rig, _ int) {
			if got := on.call("POST", "auth/login", "", try("alice", "not the right one", "")); got.status != 401 {
				t.Error(got.raw)
			}
		})
		for _, on := range []*rig{a, b} {
			on.want(429, "login_throttled", "POST", "auth/login", "", try("alice", password, ""))
			if got := on.svc.nameMAC("alice", ""); got != a.svc.nameMAC("alice", "") {
				t.Error("the nodes count under different names")
			}
		}
		if n := a.count(`SELECT failures FROM login_failures`); n != freeFailures {
			t.Errorf("%d failures counted, want %d", n, freeFailures)
		}
	})
}

// TestManyKindsOfWritesAtOnce takes the rows of the same accounts in many orders.
func TestManyKindsOfWritesAtOnce(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, a, b *rig) {
		alice, bob := a.register("alice", "laptop"), a.register("bob", "laptop")
		a.both(b, 10, func(on *rig, i int) {
			me := []reply{alice, bob}[i/2%2]
			name := []string{"alice", "bob"}[i/2%2]
			for status, got := range map[int]reply{
				201:  on.call("POST", "auth/register", "", try(fmt.Sprintf("new-%d", i), password, "d")),
				200:  on.refresh(me.text("refresh_token")),
				-200: on.call("POST", "auth/ticket", me.text("access_token"), nil),
				1200: on.call("POST", "auth/login", "", try(name, password, "phone")),
				401:  on.call("POST", "auth/login", "", try(fmt.Sprintf("nobody-%d", i%3), "not the right one", "")),
			} {
				if want := max(status, -status) % 1000; got.status != want {
					t.Errorf("%d %s, want %d", got.status, got.raw, want)
				}
			}
		})
		if n := a.count(`SELECT COUNT(*) FROM accounts`); n != 22 {
			t.Errorf("%d accounts, want 22", n)
		}
	})
}
