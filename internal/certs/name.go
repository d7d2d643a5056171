package certs

import (
	"crypto/x509"
	"slices"
	"strings"

	"github.com/nova-chat/nova/internal/obs"
)

// zone is the domain of the names. It exists nowhere but in certificates, and an
// authority that Nova makes can vouch for nothing outside it.
const zone = "nova"

// Name is the DNS name in the certificate of a process that runs the service.
func Name(s obs.Service) string { return s.String() + "." + zone }

// services lists the services that a certificate names.
func services(c *x509.Certificate) (named []obs.Service) {
	for _, s := range obs.Services() {
		if slices.Contains(c.DNSNames, Name(s)) {
			named = append(named, s)
		}
	}
	return named
}

func join(all []obs.Service, sep string) string {
	var names []string
	for _, s := range all {
		names = append(names, s.String())
	}
	return strings.Join(names, sep)
}
