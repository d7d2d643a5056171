package auth

import (
	"errors"
	"testing"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
)

func (r *rig) seed(users int, prefix string) ([]SeededUser, error) {
	var got []SeededUser
	err := Seed(r.t.Context(), r.svc.deps, SeedOptions{Users: users, Prefix: prefix}, func(u SeededUser) error {
		got = append(got, u)
		return nil
	})
	return got, err
}

func TestSeedMakesAccountsThatWork(t *testing.T) {
	r := newRig(t, cheap())
	got, err := r.seed(1203, "load")
	r.must(err)
	if len(got) != 1203 || got[0].Username != "load-000001" || got[1202].Username != "load-001203" {
		t.Fatalf("%d users", len(got))
	}
	seen := map[string]bool{}
	for _, u := range got {
		if seen[u.UserID] || !id.Valid(u.UserID) || u.DeviceID == "" || u.CreatedAt.IsZero() {
			t.Fatalf("user %+v", u)
		}
		seen[u.UserID] = true
	}
	for _, u := range []SeededUser{got[0], got[1202]} {
		if !r.alive(u.Access.Reveal()) {
			t.Errorf("the access proof of %s is refused", u.Username)
		}
		r.want(401, "login_refused", "POST", "auth/login", "", try(u.Username, "not used, for no one", ""))
		r.want(401, "login_refused", "POST", "auth/login", "", try(u.Username, noEntry, ""))
	}
}

func TestSeedAgainTakesTheAccounts(t *testing.T) {
	r := newRig(t, cheap())
	first, err := r.seed(3, "load")
	r.must(err)
	second, err := r.seed(5, "load")
	r.must(err)
	for i, u := range first {
		if second[i].UserID != u.UserID || second[i].SessionID == u.SessionID {
			t.Errorf("%s: another account or the same session", u.Username)
		}
	}
	if len(r.poll(0, 0).GetItems()) != 3 || r.count(`SELECT COUNT(*) FROM sessions`) != 5 {
		t.Error("the sessions of the first run live on")
	}
	// The revocation lasts as long as the access proofs, which live a day.
	if until := r.poll(0, 0).GetItems()[0].GetUntilMs(); until < first[0].CreatedAt.UnixMilli()+86_400_000 {
		t.Error("forgotten before the access proof ends")
	}
}

func TestSeedTakesNobodysName(t *testing.T) {
	r := newRig(t, cheap())
	r.register("load-000002", "laptop")
	if got, err := r.seed(3, "load"); !fault.Is(err, fault.CodeConflict) || len(got) != 0 {
		t.Errorf("%d users, %v", len(got), err)
	}
	if r.count(`SELECT COUNT(*) FROM accounts`) != 1 {
		t.Error("accounts of a refused batch are there")
	}
}

func TestSeedRefuses(t *testing.T) {
	r := newRig(t, cheap())
	for _, prefix := range []string{"", "a b", "ü", "x123456789012345678901234567890"} {
		if _, err := r.seed(1, prefix); err == nil && prefix != "" {
			t.Errorf("prefix %q accepted", prefix)
		}
	}
	stop := errors.New("disk full")
	err := Seed(t.Context(), r.svc.deps, SeedOptions{Users: 2, Prefix: "load"}, func(SeededUser) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("the writer's error became %v", err)
	}
}
