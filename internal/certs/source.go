package certs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// lookEvery is how often the files are compared with what was read last. Their
// contents are, not their times: whoever mounts them may keep those.
const lookEvery = 5 * time.Second

// Files are where a process finds its certificates.
type Files struct {
	Identity string // its own certificate with its private part, PEM
	Trusted  string // the certificates of the authorities, PEM
}

// Source is the certificates of a process, kept up to date. Make one with [Open];
// it is safe for concurrent use.
type Source struct {
	obs     *obs.Obs
	metrics *obs.Certificates
	files   Files
	now     atomic.Pointer[pair]

	mu       sync.Mutex    // guards what follows
	needed   []obs.Service // services that the own certificate must name
	identity []byte        // what was read last, taken or not
	trusted  []byte
	failing  bool // the last look found something wrong
}

// Open reads the certificates and starts the worker that looks for new ones. Its
// error is an [*Error].
func Open(o *obs.Obs, g *run.Group, f Files) (*Source, error) {
	s := &Source{obs: o, metrics: o.Metrics.Certificates(), files: f}
	if _, err := s.look(); err != nil {
		return nil, err
	}
	s.metrics.Life.Pull(obs.CertificateIdentity, func() float64 { return time.Until(s.now.Load().identity.Leaf.NotAfter).Seconds() })
	s.metrics.Life.Pull(obs.CertificateAuthority, func() float64 { return time.Until(s.now.Load().authority.NotAfter).Seconds() })
	g.Worker("certs.look", time.Second, func(ctx context.Context) {
		again := time.NewTicker(lookEvery)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				_ = s.Reload(ctx) // has logged and counted it
			case <-ctx.Done():
				return
			}
		}
	})
	return s, nil
}

// Require makes sure that the own certificate names the services, now and after
// every change. Its error is an [*Error].
func (s *Source) Require(all ...obs.Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	needed := slices.Concat(s.needed, all)
	if err := s.now.Load().check(needed, time.Now()); err != nil {
		return err
	}
	s.needed = needed
	return nil
}

// Reload takes what is in the files now, if it differs and fits together. What
// does not fit is logged and counted once, and looked at again when it changes.
func (s *Source) Reload(ctx context.Context) error {
	news, err := s.look()
	if bad, ok := errors.AsType[*Error](err); ok && news {
		s.metrics.Failures.Inc(bad.Reason)
		s.obs.Log(obs.Process).WarnContext(ctx, "new certificates were not taken, the ones before stay in use", obs.Reason(bad.Reason), obs.Cause(err))
	}
	if err == nil && news {
		s.obs.Log(obs.Process).InfoContext(ctx, "new certificates were taken")
	}
	return err
}

// look reads the files. It says whether there is something new to tell: other
// contents, or the same that now fit or no longer do.
func (s *Source) look() (news bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := s.failing
	identity, trusted, err := s.files.read()
	s.failing = err != nil
	if err != nil {
		return !failed, err
	}
	news = !bytes.Equal(identity, s.identity) || !bytes.Equal(trusted, s.trusted)
	if !news && !failed {
		return false, nil
	}
	s.identity, s.trusted = identity, trusted
	next, err := newPair(identity, trusted, s.needed, time.Now())
	if s.failing = err != nil; s.failing {
		return news || !failed, err
	}
	s.now.Store(next)
	return true, nil
}

func (f Files) read() (identity, trusted []byte, err error) {
	if identity, err = readFile(SettingIdentity, f.Identity); err != nil {
		return nil, nil, err
	}
	trusted, err = readFile(SettingTrusted, f.Trusted)
	return identity, trusted, err
}

// readFile says why in its own words: those of the library hold the path, and
// what a path holds may not stand in a log.
func readFile(setting, path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		return text, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, wrong(setting, obs.CertificateUnreadable, "names a file that is not there")
	case errors.Is(err, fs.ErrPermission):
		return nil, wrong(setting, obs.CertificateUnreadable, "names a file that this user may not read")
	default:
		return nil, wrong(setting, obs.CertificateUnreadable, "names a file that cannot be read")
	}
}
