package auth

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/obs"
)

func TestRefreshRotates(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	b := r.refresh(a.text("refresh_token"))
	if b.status != 200 || b.text("refresh_token") == a.text("refresh_token") || b.text("access_token") == a.text("access_token") {
		t.Fatalf("%d: no new pair", b.status)
	}
	if diff := cmp.Diff([]any{a.json["user"], a.json["session_id"], a.json["device_id"], 300.0}, []any{b.json["user"], b.json["session_id"], b.json["device_id"], b.json["expires_in"]}); diff != "" {
		t.Error(diff)
	}
	if c := r.refresh(b.text("refresh_token")); c.status != 200 || !r.alive(c.text("access_token")) {
		t.Errorf("the successor answers %d", c.status)
	}
}

func TestFiftyRefreshesAtOnce(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	got := make([]string, 50)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = r.refresh(a.text("refresh_token")).text("refresh_token") })
	}
	wg.Wait()
	for _, s := range got {
		if s == "" || s != got[0] {
			t.Fatalf("different successors: %q", got)
		}
	}
	if b := r.refresh(got[0]); b.status != 200 {
		t.Errorf("the successor answers %d", b.status)
	}
}

func TestReuseEndsTheSession(t *testing.T) {
	for _, c := range []struct {
		name  string
		grace time.Duration
		turns int // rotations before the first proof is used again
	}{
		{"the one before, after the grace", time.Nanosecond, 1},
		{"an older one, within the grace", time.Hour, 2},
		{"a much older one", time.Hour, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := cheap()
			cfg.Grace = c.grace
			r := newRig(t, cfg)
			first := r.register("alice", "laptop")
			other := r.login("alice", "phone")
			last := first
			for range c.turns {
				if last = r.refresh(last.text("refresh_token")); last.status != 200 {
					t.Fatal(last.raw)
				}
			}
			before := r.series("identity_refusals_total")
			if a := r.refresh(first.text("refresh_token")); a.status != 401 || a.text("code") != "unauthenticated" {
				t.Fatalf("reuse answers %d %s", a.status, a.raw)
			}
			before["refresh_reused"]++
			if diff := cmp.Diff(before, r.series("identity_refusals_total")); diff != "" {
				t.Error(diff)
			}
			if got := r.logged("auth.refresh", "reason"); len(got) != 1 || got[0] != obs.LogName(obs.RefreshReused) {
				t.Errorf("logged %q", got)
			}
			if r.alive(last.text("access_token")) || r.refresh(last.text("refresh_token")).status != 401 {
				t.Error("the family lives on")
			}
			if !r.alive(other.text("access_token")) {
				t.Error("another session died with it")
			}
		})
	}
}

func TestRefreshOfWhatWasNeverGiven(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	real := a.text("refresh_token")
	session, _, _ := strings.Cut(real, "~")
	for _, forged := range []string{
		"", "x", real + "A", real[:len(real)-1], session + "~" + strings.Repeat("A", 64), strings.Repeat("~", proofLen),
		a.text("access_token"), strings.ToLower(real), session + "~", strings.Repeat("A", 10_000),
		real[:30] + flip(real[30:31]) + real[31:],
	} {
		if b := r.refresh(forged); b.status != 401 || b.text("code") != "unauthenticated" {
			t.Errorf("%.40q: %d %s", forged, b.status, b.raw)
		}
	}
	if r.refresh(real).status != 200 {
		t.Error("a forgery ended the session")
	}
	if got := r.series("identity_refusals_total")["refresh_unknown"]; got != 11 {
		t.Errorf("refresh_unknown = %v, want 11", got)
	}
}

func flip(s string) string {
	if s == "A" {
		return "B"
	}
	return "A"
}

func TestRefreshAfterTheSessionIsOver(t *testing.T) {
	for name, age := range map[string]string{
		"idle":     `UPDATE sessions SET used_ms = used_ms - 2592000001`,
		"absolute": `UPDATE sessions SET created_ms = created_ms - 7776000001`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, cheap())
			a := r.register("alice", "laptop")
			r.exec(age)
			if b := r.refresh(a.text("refresh_token")); b.status != 401 {
				t.Errorf("%d %s", b.status, b.raw)
			}
			if r.alive(a.text("access_token")) {
				t.Error("the access proof outlives its session")
			}
		})
	}
}

func TestRefreshAfterLogout(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	r.want(204, "", "POST", "auth/logout", a.text("access_token"), nil)
	if b := r.refresh(a.text("refresh_token")); b.status != 401 {
		t.Errorf("%d %s", b.status, b.raw)
	}
}

func TestRevocationOutlastsEveryAccessProof(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	r.exec(`UPDATE sessions SET access_until_ms = access_until_ms + 86400000`) // as seeded
	b := r.refresh(a.text("refresh_token"))
	r.want(204, "", "POST", "auth/logout", b.text("access_token"), nil)
	if until := time.UnixMilli(r.poll(0, 0).GetItems()[0].GetUntilMs()); time.Until(until) < 24*time.Hour {
		t.Errorf("forgotten at %v, while a proof of the session lives", until)
	}
}

func TestNothingSecretIsStored(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	b := r.refresh(a.text("refresh_token"))
	ticket := r.want(200, "", "POST", "auth/ticket", b.text("access_token"), nil).text("ticket")
	for _, secret := range []string{password, a.text("refresh_token"), b.text("refresh_token"), b.text("access_token"), ticket} {
		for _, where := range []string{
			`SELECT COUNT(*) FROM sessions WHERE refresh_hash = $1 OR previous_hash = $1`,
			`SELECT COUNT(*) FROM tickets WHERE hash = $1`, `SELECT COUNT(*) FROM accounts WHERE verifier = $1`,
		} {
			if r.count(where, secret) != 0 {
				t.Error("a proof is stored as it is")
			}
		}
		if strings.Contains(r.log.String(), secret) {
			t.Error("a proof is in the log")
		}
	}
}
