package certs

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// pair is what was read from the two files and fits together.
type pair struct {
	identity  *tls.Certificate
	trusted   *x509.CertPool
	authority *x509.Certificate // of trusted, the one that identity comes from
}

// newPair judges the contents of the two files: a process whose own certificate
// its peers will refuse should not start, nor take it up.
func newPair(identity, trusted []byte, needed []obs.Service, now time.Time) (*pair, error) {
	authorities, err := parseTrusted(trusted)
	if err != nil {
		return nil, wrong(SettingTrusted, obs.CertificateMalformed, "%v: want the certificates of the authorities, in PEM form", err)
	}
	own, err := parseIdentity(identity)
	if err != nil {
		return nil, wrong(SettingIdentity, obs.CertificateMalformed, "%v: want a certificate and its private part in one file, in PEM form", err)
	}
	p := &pair{identity: own, trusted: x509.NewCertPool()}
	for _, a := range authorities {
		p.trusted.AddCert(a)
	}
	if end := own.Leaf.NotAfter; now.After(end) {
		return nil, wrong(SettingIdentity, obs.CertificateExpired, "names a certificate that ended at %s: nova certs rotate makes a new one", end.UTC().Format(time.RFC3339))
	}
	if begin := own.Leaf.NotBefore; now.Before(begin) {
		return nil, wrong(SettingIdentity, obs.CertificateExpired, "names a certificate that begins at %s: is the clock right?", begin.UTC().Format(time.RFC3339))
	}
	return p, p.check(needed, now)
}

// check judges what the two files say together.
func (p *pair) check(needed []obs.Service, now time.Time) error {
	named := services(p.identity.Leaf)
	if len(named) == 0 {
		return wrong(SettingIdentity, obs.CertificateWrongName, "names a certificate of no service: want a DNS name like %s", Name(obs.Messaging))
	}
	for _, s := range needed {
		if !slices.Contains(named, s) {
			return wrong(SettingIdentity, obs.CertificateWrongName, "names a certificate for %s, and this process runs %s too: want the DNS name %s", join(named, ", "), s, Name(s))
		}
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		chains, err := p.identity.Leaf.Verify(p.options(p.between(), use, now))
		if err == nil {
			p.authority = chains[0][len(chains[0])-1]
			continue
		}
		switch reason, _ := Refused(err); reason {
		case obs.PeerExpired:
			return wrong(SettingTrusted, obs.CertificateExpired, "names authorities of which the one that issued this process's certificate has ended: nova certs rotate --authority makes a new one")
		case obs.PeerWrongUse:
			return wrong(SettingIdentity, obs.CertificateMalformed, "names a certificate that is not for both ends of a connection: want server and client authentication")
		default:
			return wrong(SettingTrusted, obs.CertificateUntrusted, "names no authority that issued the certificate of %s", SettingIdentity)
		}
	}
	return nil
}

func (p *pair) options(between *x509.CertPool, use x509.ExtKeyUsage, now time.Time) x509.VerifyOptions {
	return x509.VerifyOptions{Roots: p.trusted, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}, CurrentTime: now}
}

// between are the certificates that stand between the own one and its authority.
func (p *pair) between() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, der := range p.identity.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			pool.AddCert(c)
		}
	}
	return pool
}
