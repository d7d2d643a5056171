package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/obs"
)

func newSeal() string { return base64.StdEncoding.EncodeToString(randomBytes(sealLen)) }

func mustSeal(t *testing.T, text string) *seal {
	t.Helper()
	s, err := readSeal(text, false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	got := make([]string, 16)
	errs := make([]error, len(got))
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i], errs[i] = sealFileIn(dir) })
	}
	wg.Wait()
	for i := range got {
		if errs[i] != nil || got[i] != got[0] {
			t.Fatalf("%d: another seal, or %v", i, errs[i])
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("left over: %v, %v", files, err)
	}
	info, err := files[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 || info.Name() != "seal" {
		t.Errorf("%s, mode %v, %v", info.Name(), info.Mode(), err)
	}
}

func TestSealOpensOnlyItsOwn(t *testing.T) {
	a, b := mustSeal(t, newSeal()), mustSeal(t, newSeal())
	sealed := a.close("sign", "name", []byte("value"))
	row := func(purpose, name, sealed string) sealedKey {
		return sealedKey{name: name, purpose: purpose, sealed: sealed}
	}
	if v, err := a.open(row("sign", "name", sealed)); err != nil || string(v) != "value" {
		t.Errorf("%q, %v", v, err)
	}
	if sealed == a.close("sign", "name", []byte("value")) {
		t.Error("sealed twice alike")
	}
	for what, err := range map[string]error{
		"another seal": open(b, row("sign", "name", sealed)), "another name": open(a, row("sign", "other", sealed)),
		"another purpose": open(a, row("derive", "name", sealed)), "as of the first version": open(a, row("sign", "name", sealed[len(sealVersion):])),
		"damaged": open(a, row("sign", "name", sealVersion+flip(sealed[2:3])+sealed[3:])), "cut": open(a, row("sign", "name", sealed[:8])),
		"no base64": open(a, row("sign", "name", "\x00")),
	} {
		if !errors.Is(err, errNoFit) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func open(s *seal, k sealedKey) error {
	_, err := s.open(k)
	return err
}

func TestDamagedSealIsNotReplaced(t *testing.T) {
	for _, name := range []string{sealFile, firstFile} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half of"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openSeal(obs.Secret{}, dir); err == nil {
			t.Errorf("%s: damaged, and accepted or replaced", name)
		}
	}
}

func TestSealOfTheSetting(t *testing.T) {
	good := newSeal()
	for _, c := range []struct {
		name, set, says string
	}{
		{"given", good, ""},
		{"given as a file has it", good + "\n", ""},
		{"short", good[:40], "32 random bytes"},
		{"no base64", strings.Repeat("!", 44), "32 random bytes"},
	} {
		dir := t.TempDir()
		_, err := openSeal(obs.NewSecret(c.set), dir)
		bad, named := errors.AsType[*SealError](err)
		switch {
		case c.says == "" && err != nil, c.says != "" && (!named || !strings.Contains(bad.Detail, c.says)):
			t.Errorf("%s: %v", c.name, err)
		case err != nil && c.set != "" && strings.Contains(err.Error(), c.set):
			t.Errorf("%s: the error tells the value", c.name)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
			t.Errorf("%s: a file was made: %v", c.name, err)
		}
	}
}

func (r *rig) restart(with string) *Service {
	r.t.Helper()
	deps := r.svc.deps
	deps.Seal = obs.NewSecret(with)
	s, err := New(deps)
	r.must(err)
	return s
}

func TestAnotherSealIsRefused(t *testing.T) {
	r := newNode(t, node{dir: t.TempDir(), seal: newSeal()}, cheap())
	other := newSeal()
	err := r.restart(other).openKeys(t.Context())
	bad, ok := errors.AsType[*SealError](err)
	if !ok || !strings.Contains(bad.Detail, "not the one") || strings.Contains(err.Error(), other) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

func TestTheSettingTakesOverFromTheFile(t *testing.T) {
	r := newRig(t, cheap())
	r.must(r.svc.turnKeys(t.Context(), r.svc.ring().readAt.Add(rotateEvery)))
	before, set := r.svc.ring(), newSeal()
	nodes := make([]*Service, 4)
	var wg sync.WaitGroup
	for i := range nodes {
		nodes[i] = r.restart(set)
		wg.Go(func() {
			if err := nodes[i].openKeys(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range nodes {
		if !bytes.Equal(s.ring().jwks, before.jwks) || !bytes.Equal(s.ring().derive, before.derive) {
			t.Fatal("taken over, but not the same")
		}
	}
	if _, bad := errors.AsType[*SealError](r.restart("").openKeys(t.Context())); !bad {
		t.Error("the file still opens what was taken over")
	}
}

func TestTheFirstVersionIsTakenOver(t *testing.T) {
	r := newRig(t, cheap())
	before := r.svc.ring()
	for _, k := range before.rows { // as it wrote them: only the name is bound
		raw, err := r.svc.box.open(k)
		r.must(err)
		old := base64.StdEncoding.EncodeToString(r.svc.box.aead.Seal(nil, nil, raw, []byte(k.name)))
		r.exec(`UPDATE sealed_keys SET sealed = $1 WHERE name = $2`, old, k.name)
	}
	folder := r.svc.deps.KeysDir
	r.must(os.Rename(filepath.Join(folder, sealFile), filepath.Join(folder, firstFile)))
	for _, with := range []string{"", "", newSeal()} {
		s := r.restart(with)
		r.must(s.openKeys(t.Context()))
		if !bytes.Equal(s.ring().jwks, before.jwks) || !bytes.Equal(s.ring().derive, before.derive) {
			t.Error("taken over, but not the same")
		}
	}
	if n := r.count(`SELECT COUNT(*) FROM sealed_keys WHERE sealed LIKE '2:%'`); n != len(before.rows) {
		t.Errorf("%d rows of the present version, want all %d", n, len(before.rows))
	}
}
