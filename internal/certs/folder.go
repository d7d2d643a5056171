package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// The files of a folder. The bundle stands beside every certificate, so that what
// a machine needs can be copied as it is.
const (
	authorityFile = "authority.pem" // the authority with its private part: it stays where it was made
	trustedFile   = "trusted.pem"   // the certificates of all authorities that are trusted now
	suffix        = ".pem"
)

// Folder is where an operator keeps authorities and certificates: in it, or in
// one folder per machine below it.
type Folder struct {
	Dir string
	Now func() time.Time // the clock
}

// Held is a certificate in a folder.
type Held struct {
	Path      string    `json:"path"` // within the folder
	Services  []string  `json:"services,omitempty"`
	Authority string    `json:"authority"` // who issued it
	Serial    string    `json:"serial"`
	NotAfter  time.Time `json:"not_after"`
}

// Init makes the first authority and the bundle with it. It overwrites nothing.
func (f Folder) Init(life time.Duration) error {
	text, err := newAuthority(life, f.Now())
	if err != nil {
		return err
	}
	made, err := parseIdentity(text)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(f.path(trustedFile)); err == nil {
		return fmt.Errorf("%s is there already and is not overwritten", f.path(trustedFile))
	}
	if err := writeNew(f.path(authorityFile), text); err != nil {
		return err
	}
	return writeNew(f.path(trustedFile), encodeCertificates(made.Leaf))
}

// Issue makes certificates: one for each element of processes, which lists the
// services that such a process runs, and that for each host. It makes all of
// them, or none when one is there already.
func (f Folder) Issue(processes [][]obs.Service, hosts []string, life time.Duration) ([]string, error) {
	by, err := f.authority()
	if err != nil {
		return nil, err
	}
	trusted, err := os.ReadFile(f.path(trustedFile))
	if err != nil {
		return nil, err
	}
	for _, host := range hosts {
		if host != filepath.Base(host) || !filepath.IsLocal(host) || strings.HasPrefix(host, ".") {
			return nil, fmt.Errorf("host %q cannot be the name of a folder", host)
		}
	}
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	var paths []string
	made := map[string][]byte{}
	for _, host := range hosts {
		for _, all := range processes {
			path := filepath.Join(host, join(all, "+")+suffix)
			if _, err := os.Lstat(f.path(path)); err == nil {
				return nil, fmt.Errorf("%s is there already and is not overwritten: nova certs rotate replaces it and keeps the old one", f.path(path))
			}
			if made[path], err = issue(by, all, life, f.Now()); err != nil {
				return nil, err
			}
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		if err := writeNew(f.path(path), made[path]); err != nil {
			return nil, err
		}
		if err := replace(filepath.Join(filepath.Dir(f.path(path)), trustedFile), trusted); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// Rotate replaces every certificate of the folder by a new one of the authority,
// for the same services. The old ones stay beside them under another name.
func (f Folder) Rotate(life time.Duration) ([]string, error) {
	by, err := f.authority()
	if err != nil {
		return nil, err
	}
	held, err := f.List()
	if err != nil {
		return nil, err
	}
	var paths []string
	made := map[string][]byte{}
	for _, h := range held {
		if made[h.Path], err = issue(by, parse(h.Services), life, f.Now()); err != nil {
			return nil, err
		}
	}
	for _, h := range held {
		if err := keep(f.path(h.Path), h.Serial); err != nil {
			return paths, err
		}
		if err := replace(f.path(h.Path), made[h.Path]); err != nil {
			return paths, err
		}
		paths = append(paths, h.Path)
	}
	return paths, nil
}

// RotateAuthority makes a new authority beside the ones that are trusted: first
// everybody must know it, then Rotate may have it issue, and when nothing of the
// old one is left, Retire takes that one away.
func (f Folder) RotateAuthority(life time.Duration) error {
	old, err := f.authority()
	if err != nil {
		return err
	}
	text, err := newAuthority(life, f.Now())
	if err != nil {
		return err
	}
	made, err := parseIdentity(text)
	if err != nil {
		return err
	}
	trusted, err := f.trusted()
	if err != nil {
		return err
	}
	if err := f.trust(append(trusted, made.Leaf)); err != nil {
		return err
	}
	if err := keep(f.path(authorityFile), serial(old.Leaf)); err != nil {
		return err
	}
	return replace(f.path(authorityFile), text)
}

// Retire takes those authorities out of the bundle that are not the present one.
// It refuses while a certificate in the folder is of one of them.
func (f Folder) Retire() (retired []string, err error) {
	by, err := f.authority()
	if err != nil {
		return nil, err
	}
	held, err := f.List()
	if err != nil {
		return nil, err
	}
	for _, h := range held {
		if h.Authority != by.Leaf.Subject.CommonName {
			return nil, fmt.Errorf("%s is still of %s: run nova certs rotate first, and bring the new certificates to their machines", h.Path, h.Authority)
		}
	}
	trusted, err := f.trusted()
	if err != nil {
		return nil, err
	}
	for _, a := range trusted {
		if !a.Equal(by.Leaf) {
			retired = append(retired, a.Subject.CommonName)
		}
	}
	if len(retired) == 0 {
		return nil, nil
	}
	return retired, f.trust([]*x509.Certificate{by.Leaf})
}

// List shows the certificates of the folder, sorted by path.
func (f Folder) List() ([]Held, error) {
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, err
	}
	var all []Held
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isCertificate(d.Name()) {
			return err
		}
		text, err := root.ReadFile(path)
		if err != nil {
			return err
		}
		c, err := parseIdentity(text)
		if err != nil {
			return fmt.Errorf("%s %w", path, err)
		}
		h := Held{Path: path, Authority: c.Leaf.Issuer.CommonName, Serial: serial(c.Leaf), NotAfter: c.Leaf.NotAfter}
		for _, s := range services(c.Leaf) {
			h.Services = append(h.Services, s.String())
		}
		all = append(all, h)
		return nil
	})
	return all, errors.Join(err, root.Close())
}

func isCertificate(name string) bool {
	return strings.HasSuffix(name, suffix) && name != authorityFile && name != trustedFile
}

func (f Folder) path(name string) string { return filepath.Join(f.Dir, name) }

// trust writes the bundle, and then its copies beside the certificates.
func (f Folder) trust(all []*x509.Certificate) error {
	held, err := f.List()
	if err != nil {
		return err
	}
	text, paths := encodeCertificates(all...), []string{f.path(trustedFile)}
	for _, h := range held {
		paths = append(paths, filepath.Join(filepath.Dir(f.path(h.Path)), trustedFile))
	}
	for _, path := range slices.Compact(paths) {
		if err := replace(path, text); err != nil {
			return err
		}
	}
	return nil
}

func (f Folder) authority() (*tls.Certificate, error) {
	text, err := os.ReadFile(f.path(authorityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: nova certs init makes an authority", f.path(authorityFile))
	}
	if err != nil {
		return nil, err
	}
	c, err := parseIdentity(text)
	if err != nil {
		return nil, fmt.Errorf("%s %w", f.path(authorityFile), err)
	}
	return c, nil
}

func (f Folder) trusted() ([]*x509.Certificate, error) {
	text, err := os.ReadFile(f.path(trustedFile))
	if err != nil {
		return nil, err
	}
	all, err := parseTrusted(text)
	if err != nil {
		return nil, fmt.Errorf("%s %w", f.path(trustedFile), err)
	}
	return all, nil
}

func parse(names []string) (all []obs.Service) {
	for _, n := range names {
		if s, ok := obs.ParseService(n); ok {
			all = append(all, s)
		}
	}
	return all
}

// serial is how a certificate is told from others of the same name.
func serial(c *x509.Certificate) string { return fmt.Sprintf("%.8x", c.SerialNumber.Bytes()) }
