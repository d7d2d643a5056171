package auth

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
)

func TestSealIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	got := make([][]byte, 16)
	errs := make([]error, len(got))
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { _, got[i], errs[i] = openSeal(dir) })
	}
	wg.Wait()
	for i := range got {
		if errs[i] != nil || !bytes.Equal(got[i], got[0]) {
			t.Fatalf("%d: another seal, or %v", i, errs[i])
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("left over: %v, %v", files, err)
	}
	info, err := files[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSealOpensOnlyItsOwn(t *testing.T) {
	a, _, err := openSeal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := openSeal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sealed := a.close("name", []byte("value"))
	if v, err := a.open("name", sealed); err != nil || string(v) != "value" {
		t.Errorf("%q, %v", v, err)
	}
	for what, err := range map[string]error{
		"another seal": open(b, "name", sealed), "another name": open(a, "other", sealed),
		"damaged": open(a, "name", flip(sealed[:1])+sealed[1:]), "cut": open(a, "name", sealed[:8]), "no base64": open(a, "name", "\x00"),
	} {
		if !errors.Is(err, errNoFit) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func open(s *seal, name, sealed string) error {
	_, err := s.open(name, sealed)
	return err
}

func TestDamagedSealIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, sealFile)
	if err := os.WriteFile(path, []byte("half of"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openSeal(dir); err == nil {
		t.Error("a damaged seal was accepted or replaced")
	}
}

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
		if err := s.openKeys(t.Context()); !errors.Is(err, errNoFit) {
			t.Errorf("with another seal: %v", err)
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
		if !bytes.Equal(s.keys.jwks, services[0].keys.jwks) || !bytes.Equal(s.keys.derive, services[0].keys.derive) {
			t.Fatal("different keys")
		}
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
