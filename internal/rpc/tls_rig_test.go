package rpc

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// folder is an authority and the files of the processes that it issued for.
type folder struct {
	certs.Folder
	clock time.Time
}

func newFolder(t testing.TB) *folder {
	t.Helper()
	f := &folder{clock: time.Now()}
	f.Folder = certs.Folder{Dir: t.TempDir(), Now: func() time.Time { return f.clock }}
	if err := f.Init(1000 * time.Hour); err != nil {
		t.Fatal(err)
	}
	return f
}

// files issues a certificate for a process that runs the services.
func (f *folder) files(t testing.TB, life time.Duration, all ...obs.Service) certs.Files {
	t.Helper()
	host, err := os.MkdirTemp(f.Dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	paths, err := f.Issue([][]obs.Service{all}, []string{filepath.Base(host)}, life)
	if err != nil {
		t.Fatal(err)
	}
	return certs.Files{Identity: filepath.Join(f.Dir, paths[0]), Trusted: filepath.Join(host, "trusted.pem")}
}

func (f *folder) open(t testing.TB, o *obs.Obs, g *run.Group, all ...obs.Service) *certs.Source {
	t.Helper()
	return source(t, o, g, f.files(t, 100*time.Hour, all...))
}

func source(t testing.TB, o *obs.Obs, g *run.Group, files certs.Files) *certs.Source {
	t.Helper()
	s, err := certs.Open(o, g, files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// copyOf is a file that later changes do not reach.
func copyOf(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy.pem")
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}
