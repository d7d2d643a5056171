package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

const (
	blockCertificate = "CERTIFICATE"
	blockPrivate     = "PRIVATE KEY"
)

var (
	errNoCertificate = errors.New("holds no certificate")
	errNoPrivate     = errors.New("holds no private part")
	errForeignBlock  = errors.New("holds something that is no certificate")
	errUnreadable    = errors.New("holds a certificate that cannot be read")
	errUnfit         = errors.New("holds a certificate and a private part that do not belong together")
)

// parseIdentity reads a certificate, the ones between it and its authority if
// there are any, and its private part, all from one file: two files could be
// read in the middle of a change. What a library says of it is not repeated,
// since it may quote it.
func parseIdentity(text []byte) (*tls.Certificate, error) {
	var chain, private bool
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		chain = chain || block.Type == blockCertificate
		private = private || block.Type != blockCertificate
	}
	switch {
	case !chain:
		return nil, errNoCertificate
	case !private:
		return nil, errNoPrivate
	}
	c, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, errUnfit
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, errUnreadable
		}
	}
	return &c, nil
}

// parseTrusted reads the certificates of the authorities.
func parseTrusted(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != blockCertificate {
			return nil, errForeignBlock
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errUnreadable
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errNoCertificate
	}
	return all, nil
}

func encodeCertificates(all ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range all {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: c.Raw}))
	}
	return out.Bytes()
}
