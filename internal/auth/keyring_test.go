package auth

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
)

func TestKeysSurviveARestartAndNeedTheirSeal(t *testing.T) {
	dir := t.TempDir()
	var proof, access string
	t.Run("first start", func(t *testing.T) {
		a := newRigIn(t, dir, cheap()).register("alice", "laptop")
		proof, access = a.text("refresh_token"), a.text("access_token")
	})
	t.Run("second start", func(t *testing.T) {
		r := newRigIn(t, dir, cheap())
		if !r.alive(access) || r.refresh(proof).status != 200 {
			t.Error("proofs of before the restart are refused")
		}
		deps := r.svc.deps
		deps.KeysDir = filepath.Join(dir, "elsewhere")
		s, err := New(deps)
		r.must(err)
		if _, bad := errors.AsType[*SealError](s.openKeys(t.Context())); !bad {
			t.Error("opened with another seal")
		}
	})
}

func TestTwoStartsAtOnceMakeTheSameKeys(t *testing.T) {
	r := newRig(t, cheap())
	r.exec(`DELETE FROM sealed_keys`)
	services := make([]*Service, 8)
	var wg sync.WaitGroup
	for i := range services {
		s, err := New(r.svc.deps)
		r.must(err)
		services[i] = s
		wg.Go(func() {
			if err := s.openKeys(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range services {
		if !bytes.Equal(s.ring().jwks, services[0].ring().jwks) || !bytes.Equal(s.ring().derive, services[0].ring().derive) {
			t.Fatal("different keys")
		}
	}
}

func TestScheduleOfSigners(t *testing.T) {
	start := time.Now().Truncate(time.Millisecond)
	made := func(after ...time.Duration) (rows []sealedKey) {
		for _, d := range after {
			rows = append(rows, sealedKey{created: start.Add(d).UnixMilli()})
		}
		return rows
	}
	const day = 24 * time.Hour
	for _, c := range []struct {
		name        string
		rows        []sealedKey
		now         time.Duration
		signs, past int
		due         bool
	}{
		{"none", nil, 0, 0, 0, true},
		{"the first signs at once", made(0), 0, 0, 0, false},
		{"the first, by a clock that is ahead", made(time.Hour), 0, 0, 0, false},
		{"not yet due", made(0), rotateEvery - 1, 0, 0, false},
		{"due", made(0), rotateEvery, 0, 0, true},
		{"the second is published first", made(0, 30*day), 30*day + overlap - 1, 0, 0, false},
		{"the second signs", made(0, 30*day), 30*day + overlap, 1, 0, false},
		{"the first is kept", made(0, 30*day), 30*day + overlap + keepAfter - 1, 1, 0, true},
		{"the first is past", made(0, 30*day), 30*day + overlap + keepAfter, 1, 1, true},
		{"two made at once", made(0, 0), 0, 0, 0, false},
		{"two past", made(0, 1, 2), 365 * day, 2, 2, true},
	} {
		signs, past := schedule(c.rows, start.Add(c.now))
		if got := due(c.rows, start.Add(c.now)); signs != c.signs || past != c.past || got != c.due {
			t.Errorf("%s: signs %d, past %d, due %v", c.name, signs, past, got)
		}
	}
}

func TestRotationOverlaps(t *testing.T) {
	r := newRig(t, cheap())
	first := r.svc.ring()
	begin := time.Now().Add(rotateEvery)
	turn := func(after time.Duration) *keyring {
		r.must(r.svc.turnKeys(t.Context(), begin.Add(after)))
		return r.svc.ring()
	}
	if ring := turn(-time.Minute); len(ring.public) != 1 {
		t.Fatal("rotated too early")
	}
	if ring := turn(0); ring.signs != first.signs || len(ring.public) != 2 || bytes.Equal(ring.jwks, first.jwks) {
		t.Fatal("want a second one that is published and does not sign")
	}
	second := turn(overlap + time.Second)
	if second.signs == first.signs || second.public[first.signs] == nil || !bytes.Equal(second.derive, first.derive) {
		t.Fatal("want the second to sign and the first to verify")
	}
	old, err := first.issue(session{id: id.New(), account: id.New(), device: "d", accessUntil: time.Now().Add(time.Minute)}, time.Now())
	r.must(err)
	keys := token.NewKeys()
	r.must(keys.SetJWKS(second.jwks))
	if _, err := token.NewVerifier(r.obs, keys, r.revoked).Verify(t.Context(), old.Reveal()); err != nil {
		t.Errorf("a proof of before the rotation: %v", err)
	}
	if ring := turn(overlap + time.Second); !bytes.Equal(ring.jwks, second.jwks) || r.count(`SELECT COUNT(*) FROM sealed_keys`) != 3 {
		t.Error("turned again for nothing")
	}
	last := turn(overlap + keepAfter + time.Hour)
	if last.public[first.signs] != nil || last.public[second.signs] == nil || r.count(`SELECT COUNT(*) FROM sealed_keys WHERE name = $1`, first.signs) != 0 {
		t.Error("want the first gone and the second kept")
	}
}

func TestJWKSRoute(t *testing.T) {
	r := newRig(t, cheap())
	w := r.send(httptest.NewRequest("GET", "/.well-known/jwks.json", nil))
	if w.status != 200 || w.raw != string(r.svc.JWKS()) || !strings.Contains(w.raw, `"OKP"`) {
		t.Errorf("%d %s", w.status, w.raw)
	}
}

func TestProofs(t *testing.T) {
	ring := &keyring{derive: randomBytes(32)}
	first := newRefresh(id.New())
	wire := ring.write(first)
	if n := len(wire.Reveal()); n != proofLen {
		t.Errorf("%d characters, want %d", n, proofLen)
	}
	if back, ok := ring.read(wire); !ok || back != first {
		t.Errorf("read back %v", ok)
	}
	if a, b := ring.successor(first), ring.successor(first); a != b || a == first {
		t.Error("the successor is not one")
	}
	other := &keyring{derive: randomBytes(32)}
	if _, ok := other.read(wire); ok || other.successor(first) == ring.successor(first) {
		t.Error("another server accepts the proof")
	}
	if _, ok := obs.ParseCorrelation(wire.Reveal()); ok {
		t.Error("the proof passes as a correlation ID")
	}
	if _, ok := obs.ParseCorrelation(newTicket().Reveal()); ok {
		t.Error("the ticket passes as a correlation ID")
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("!")
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$AAAA$AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := parsePHC(s)
		if !ok {
			return
		}
		if p.memoryKiB > 1<<20 || p.lanes == 0 || p.passes == 0 {
			t.Errorf("accepted %+v", p)
		}
		if again, ok := parsePHC(p.String()); !ok || again.String() != p.String() {
			t.Errorf("%q does not read back", p.String())
		}
	})
}
