package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// skew is how far a certificate begins in the past, for machines whose clocks
// are behind.
const skew = time.Hour

// newAuthority makes an authority that can vouch for names in the zone alone, and
// gives its certificate and private part in PEM form.
func newAuthority(life time.Duration, now time.Time) ([]byte, error) {
	number, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: number, // in the name too, by which authorities are told apart
		Subject:      pkix.Name{Organization: []string{"Nova"}, CommonName: fmt.Sprintf("Nova authority %s %.4x", now.UTC().Format(time.DateOnly), number.Bytes())},
		NotBefore:    now.Add(-skew), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{zone},
	}
	return sign(template, nil)
}

// issue makes a certificate for the processes that run the services, good for
// both ends of a connection.
func issue(by *tls.Certificate, all []obs.Service, life time.Duration, now time.Time) ([]byte, error) {
	number, err := newSerial()
	if err != nil {
		return nil, err
	}
	end := now.Add(life)
	if last := by.Leaf.NotAfter; end.After(last) {
		return nil, fmt.Errorf("the authority ends on %s, before the certificate would: ask for fewer days, or make a new authority with nova certs rotate --authority", last.UTC().Format(time.DateOnly))
	}
	template := &x509.Certificate{
		SerialNumber: number,
		Subject:      pkix.Name{Organization: []string{"Nova"}, CommonName: join(all, " ")},
		NotBefore:    now.Add(-skew), NotAfter: end, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, s := range all {
		template.DNSNames = append(template.DNSNames, Name(s))
	}
	return sign(template, by)
}

// sign makes a new private part and the certificate for it, by itself if there is
// no other. ECDSA on P-256 is what every TLS library and proxy understands.
func sign(template *x509.Certificate, by *tls.Certificate) ([]byte, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	parent, signer := template, crypto.PrivateKey(private)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	own, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: blockPrivate, Bytes: own})...), nil
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return n.SetBit(n, 126, 1), nil // never short, never 0
}
