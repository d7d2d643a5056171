package certs

import (
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/obs"
)

var both = [][]obs.Service{{obs.Auth}, {obs.User, obs.Media}}

func TestWhatACertificateMayDo(t *testing.T) {
	f := newFolder(t)
	authority, err := f.authority()
	if err != nil {
		t.Fatal(err)
	}
	if a := authority.Leaf; !a.IsCA || !a.MaxPathLenZero || a.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(a.ExtKeyUsage) > 0 || !a.PermittedDNSDomainsCritical {
		t.Errorf("authority: %+v", a)
	}
	text, err := issue(authority, []obs.Service{obs.User, obs.Media}, time.Hour, f.at)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseIdentity(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"user.nova", "media.nova"}, c.Leaf.DNSNames); diff != "" {
		t.Error(diff)
	}
	if c.Leaf.IsCA || c.Leaf.KeyUsage != x509.KeyUsageDigitalSignature || !c.Leaf.NotAfter.Equal(f.at.Add(time.Hour).Truncate(time.Second)) {
		t.Errorf("certificate: %+v", c.Leaf)
	}
}

func TestAnAuthorityVouchesForNothingElse(t *testing.T) {
	f := newFolder(t)
	authority, err := f.authority()
	if err != nil {
		t.Fatal(err)
	}
	serial, err := newSerial()
	if err != nil {
		t.Fatal(err)
	}
	text, err := sign(&x509.Certificate{SerialNumber: serial, DNSNames: []string{"bank.example"}, NotBefore: f.at, NotAfter: f.at.Add(time.Hour)}, authority)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseIdentity(text)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority.Leaf)
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: f.at}); err == nil {
		t.Error("bank.example was vouched for")
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	f := newFolder(t)
	if _, err := f.Issue(both, []string{"a"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	before := contents(t, f.Dir)
	if err := f.Init(time.Hour); err == nil {
		t.Error("a second authority")
	}
	if _, err := f.Issue([][]obs.Service{{obs.Media}, {obs.Auth}}, []string{"b", "a"}, time.Hour); err == nil {
		t.Error("issued again")
	}
	for _, host := range []string{"", "..", "../a", "a/b", "/", ".hidden"} {
		if _, err := f.Issue(both, []string{host}, time.Hour); err == nil {
			t.Errorf("host %q", host)
		}
	}
	if diff := cmp.Diff(before, contents(t, f.Dir)); diff != "" {
		t.Error(diff)
	}
	if _, err := f.Rotate(2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := f.RotateAuthority(500 * time.Hour); err != nil {
		t.Fatal(err)
	}
	after := map[string]bool{}
	for _, text := range contents(t, f.Dir) {
		after[text] = true
	}
	for path, text := range before {
		if strings.Contains(text, "PRIVATE") && !after[text] {
			t.Errorf("what was in %s is gone", path)
		}
	}
}

func TestFilesAreTheirOwnersAlone(t *testing.T) {
	f := newFolder(t)
	if _, err := f.Issue(both, []string{"a"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := f.RotateAuthority(500 * time.Hour); err != nil {
		t.Fatal(err)
	}
	for path := range contents(t, f.Dir) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestAuthoritiesOverlap(t *testing.T) {
	f := newFolder(t)
	if _, err := f.Issue(both, []string{"a", "b"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	old := read(t, f.path("a/auth.pem"))
	if err := f.RotateAuthority(500 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if read(t, f.path("a/auth.pem")) != old || read(t, f.path("b/trusted.pem")) != read(t, f.path("trusted.pem")) {
		t.Error("certificates changed with the authority, or a bundle did not")
	}
	if _, err := f.Retire(); err == nil || !strings.Contains(err.Error(), "auth.pem") {
		t.Errorf("retired what is in use: %v", err)
	}
	if paths, err := f.Rotate(time.Hour); err != nil || len(paths) != 4 {
		t.Fatal(paths, err)
	}
	trusted := []byte(read(t, f.path("a/trusted.pem")))
	for _, text := range []string{old, read(t, f.path("a/auth.pem"))} {
		if _, err := newPair([]byte(text), trusted, nil, f.at); err != nil {
			t.Errorf("in the overlap: %v", err)
		}
	}
	if retired, err := f.Retire(); err != nil || len(retired) != 1 {
		t.Fatal(retired, err)
	}
	trusted = []byte(read(t, f.path("b/trusted.pem")))
	if _, err := newPair([]byte(old), trusted, nil, f.at); err == nil {
		t.Error("the old authority is still trusted")
	}
	if _, err := newPair([]byte(read(t, f.path("b/user+media.pem"))), trusted, nil, f.at); err != nil {
		t.Error(err)
	}
	if retired, err := f.Retire(); err != nil || len(retired) != 0 {
		t.Errorf("retired %v, %v", retired, err)
	}
}

func TestACertificateEndsBeforeItsAuthority(t *testing.T) {
	f := newFolder(t)
	if _, err := f.Issue(both, nil, 1001*time.Hour); err == nil || !strings.Contains(err.Error(), "rotate --authority") {
		t.Errorf("issued beyond the authority: %v", err)
	}
	if all, err := f.List(); err != nil || len(all) != 0 {
		t.Errorf("left behind: %v, %v", all, err)
	}
}

// contents reads every file below dir.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[path] = read(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
