package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// rig is a process whose log and metrics can be read.
type rig struct {
	obs   *obs.Obs
	group *run.Group
	log   *bytes.Buffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{log: &bytes.Buffer{}}
	var err error
	if r.obs, err = obs.New(obs.Config{Out: r.log}); err != nil {
		t.Fatal(err)
	}
	r.group = run.New(r.obs)
	t.Cleanup(func() { r.group.Stop(context.Background()) })
	return r
}

func (r *rig) series(t *testing.T, line string) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.obs.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for l := range strings.Lines(w.Body.String()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(l), line+" "); ok {
			return v
		}
	}
	t.Fatalf("no series %s", line)
	return ""
}

// clocked is a folder with an authority, whose clock a test may set.
type clocked struct {
	Folder
	at time.Time
}

func newFolder(t *testing.T) *clocked {
	t.Helper()
	f := &clocked{at: time.Now()}
	f.Folder = Folder{Dir: t.TempDir(), Now: func() time.Time { return f.at }}
	if err := f.Init(1000 * time.Hour); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *clocked) files(t *testing.T, life time.Duration, all ...obs.Service) Files {
	t.Helper()
	paths, err := f.Issue([][]obs.Service{all}, nil, life)
	if err != nil {
		t.Fatal(err)
	}
	return Files{f.path(paths[0]), f.path(trustedFile)}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, []byte(text), fileMode); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAMistakeNamesTheSetting(t *testing.T) {
	f, other := newFolder(t), newFolder(t)
	good, foreign := f.files(t, time.Hour, obs.Auth), other.files(t, time.Hour, obs.User)
	past := newFolder(t)
	past.at = past.at.Add(-10 * time.Hour)
	old := past.files(t, 9*time.Hour, obs.Auth)
	future := newFolder(t)
	future.at = future.at.Add(10 * time.Hour)
	early := future.files(t, time.Hour, obs.Auth)
	certificate, private, _ := strings.Cut(read(t, good.Identity), "-----BEGIN PRIVATE")
	private = "-----BEGIN PRIVATE" + private
	otherCertificate, _, _ := strings.Cut(read(t, foreign.Identity), "-----BEGIN PRIVATE")
	for name, c := range map[string]struct {
		files   Files
		setting string
		reason  obs.CertificateReason
	}{
		"no file":              {Files{good.Identity + "x", good.Trusted}, SettingIdentity, obs.CertificateUnreadable},
		"a folder":             {Files{f.Dir, good.Trusted}, SettingIdentity, obs.CertificateUnreadable},
		"no bundle":            {Files{good.Identity, ""}, SettingTrusted, obs.CertificateUnreadable},
		"not PEM":              {Files{write(t, "hello"), good.Trusted}, SettingIdentity, obs.CertificateMalformed},
		"empty bundle":         {Files{good.Identity, write(t, "")}, SettingTrusted, obs.CertificateMalformed},
		"no private part":      {Files{write(t, certificate), good.Trusted}, SettingIdentity, obs.CertificateMalformed},
		"no certificate":       {Files{write(t, private), good.Trusted}, SettingIdentity, obs.CertificateMalformed},
		"parts do not fit":     {Files{write(t, otherCertificate+private), good.Trusted}, SettingIdentity, obs.CertificateMalformed},
		"private in bundle":    {Files{good.Identity, good.Identity}, SettingTrusted, obs.CertificateMalformed},
		"another authority":    {Files{good.Identity, foreign.Trusted}, SettingTrusted, obs.CertificateUntrusted},
		"ended":                {old, SettingIdentity, obs.CertificateExpired},
		"not begun":            {early, SettingIdentity, obs.CertificateExpired},
		"the authority itself": {Files{f.path(authorityFile), good.Trusted}, SettingIdentity, obs.CertificateWrongName},
	} {
		r := newRig(t)
		_, err := Open(r.obs, r.group, c.files)
		bad, ok := errors.AsType[*Error](err)
		if !ok || bad.Setting != c.setting || bad.Reason != c.reason || !strings.HasPrefix(err.Error(), "setting "+c.setting+" ") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, word := range []string{"key", "secret", f.Dir} {
			if strings.Contains(strings.ToLower(err.Error()), word) {
				t.Errorf("%s: the text holds %q: %v", name, word, err)
			}
		}
	}
}

func TestTheOwnCertificateNamesWhatRuns(t *testing.T) {
	r, f := newRig(t), newFolder(t)
	s, err := Open(r.obs, r.group, f.files(t, time.Hour, obs.Auth, obs.User))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Require(obs.User); err != nil {
		t.Error(err)
	}
	err = s.Require(obs.Media)
	if bad, ok := errors.AsType[*Error](err); !ok || bad.Reason != obs.CertificateWrongName || !strings.Contains(bad.Detail, "media.nova") {
		t.Errorf("media: %v", err)
	}
}

// wear makes a connection between two sources and gives what the called end says.
func wear(t *testing.T, called, caller *tls.Config) (string, error) {
	t.Helper()
	a, b := net.Pipe()
	deadline := time.Now().Add(10 * time.Second)
	_ = a.SetDeadline(deadline)
	_ = b.SetDeadline(deadline)
	defer func() { _, _ = a.Close(), b.Close() }()
	server, client := tls.Server(a, called), tls.Client(b, caller)
	refused := make(chan error, 1)
	go func() {
		err := server.Handshake()
		if err != nil {
			_ = a.Close()
		}
		refused <- err
	}()
	if err := client.Handshake(); err != nil {
		_ = b.Close()
		<-refused
		return "", err
	}
	go func() { _, _ = client.Read(make([]byte, 1)) }() // the called end's alert must be taken
	if err := <-refused; err != nil {
		return "", err
	}
	return client.ConnectionState().PeerCertificates[0].Issuer.CommonName, nil
}

func TestChangedFilesAreTakenAndBadOnesAreNot(t *testing.T) {
	r, f := newRig(t), newFolder(t)
	files := f.files(t, time.Hour, obs.Auth)
	s, err := Open(r.obs, r.group, files)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Require(obs.Auth); err != nil {
		t.Fatal(err)
	}
	serving := func() string {
		t.Helper()
		issuer, err := wear(t, s.Server(), s.Client(obs.Auth))
		if err != nil {
			t.Fatal(err)
		}
		return issuer
	}
	first := serving()
	good, foreign := read(t, files.Identity), newFolder(t).files(t, time.Hour, obs.Auth)
	for _, bad := range []struct{ text, reason string }{
		{"", "malformed"}, {read(t, foreign.Identity), "untrusted"}, {read(t, f.files(t, time.Hour, obs.User).Identity), "wrong_name"},
	} {
		if err := replace(files.Identity, []byte(bad.text)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if s.Reload(t.Context()) == nil {
				t.Errorf("%s was taken", bad.reason)
			}
		}
		if got := r.series(t, `rpc_certificate_failures_total{reason="`+bad.reason+`"}`); got != "1" {
			t.Errorf("%s counted %s times, want once", bad.reason, got)
		}
		if !strings.Contains(r.log.String(), `"reason":"`+bad.reason+`"`) {
			t.Errorf("%s was not logged", bad.reason)
		}
		if serving() != first {
			t.Errorf("%s ended what was in use", bad.reason)
		}
	}
	if err := os.Remove(files.Identity); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err == nil || serving() != first {
		t.Errorf("a missing file: %v", err)
	}
	if err := replace(files.Identity, []byte(good)); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if err := f.RotateAuthority(1000 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Rotate(2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err != nil || serving() == first {
		t.Errorf("the new certificate is not in use: %v", err)
	}
	if left := r.series(t, `nova_certificate_expiry_seconds{certificate="identity"}`); !strings.HasPrefix(left, "71") {
		t.Errorf("%s seconds left of two hours", left)
	}
	if left := r.series(t, `nova_certificate_expiry_seconds{certificate="authority"}`); !strings.Contains(left, "e+06") {
		t.Errorf("%s seconds left of a thousand hours", left)
	}
}

func TestThePeerIsJudged(t *testing.T) {
	f, other := newFolder(t), newFolder(t)
	open := func(files Files) *Source {
		r := newRig(t)
		s, err := Open(r.obs, r.group, files)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	own, stranger := open(f.files(t, time.Hour, obs.Auth)), open(other.files(t, time.Hour, obs.Auth))
	without, old := own.Client(obs.Auth), own.Client(obs.Auth)
	without.GetClientCertificate = nil
	old.MaxVersion, old.MinVersion = tls.VersionTLS12, tls.VersionTLS12
	unlike := stranger.Client(obs.Auth) // trusts us, and is not trusted
	unlike.RootCAs = own.now.Load().trusted
	for name, c := range map[string]struct {
		called, caller *tls.Config
		want           obs.PeerReason
	}{
		"caller without certificate":   {own.Server(), without, obs.PeerNoCertificate},
		"caller of another authority":  {own.Server(), unlike, obs.PeerUnknownAuthority},
		"called of another authority":  {stranger.Server(), own.Client(obs.Auth), obs.PeerUnknownAuthority},
		"called is not what was asked": {own.Server(), own.Client(obs.User), obs.PeerWrongName},
		"TLS 1.2":                      {own.Server(), old, obs.PeerHandshake},
	} {
		_, err := wear(t, c.called, c.caller)
		if reason, counts := Refused(err); err == nil || reason != c.want || !counts {
			t.Errorf("%s: %v (%v)", name, reason, err)
		}
	}
	if _, err := wear(t, own.Server(), own.Client(obs.Auth)); err != nil {
		t.Error(err)
	}
}
