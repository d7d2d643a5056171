package certs

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// protocols is what both ends speak above TLS.
var protocols = []string{"h2"}

// Server is the configuration for one handshake as the called end, with the
// certificates of this moment.
func (s *Source) Server() *tls.Config {
	p := s.now.Load()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols,
		Certificates: []tls.Certificate{*p.identity},
		// The library would refuse a caller without a certificate too, but with an
		// error that cannot be told from others: admit judges them all.
		ClientAuth: tls.RequestClientCert, VerifyConnection: p.admit,
		SessionTicketsDisabled: true, // a resumed session would outlive a change
	}
}

// Client is the configuration for one handshake as the calling end.
func (s *Source) Client(called obs.Service) *tls.Config {
	p := s.now.Load()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols,
		ServerName: Name(called), RootCAs: p.trusted,
		// Certificates would be left out if the other end, in the middle of a
		// change, did not list their authority yet.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.identity, nil },
	}
}

// admit judges the certificate of a caller.
func (p *pair) admit(c tls.ConnectionState) error {
	if len(c.PeerCertificates) == 0 {
		return &refusal{obs.PeerNoCertificate, "the caller shows no certificate"}
	}
	between := x509.NewCertPool()
	for _, cert := range c.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	caller := c.PeerCertificates[0]
	if _, err := caller.Verify(p.options(between, x509.ExtKeyUsageClientAuth, time.Now())); err != nil {
		return err
	}
	if len(services(caller)) == 0 {
		return &refusal{obs.PeerWrongName, "the caller's certificate names no service"}
	}
	return nil
}
