package token

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
)

// Issuer signs proofs of identity. Only auth has one.
type Issuer struct {
	kid     string
	private ed25519.PrivateKey
}

// NewIssuer makes an issuer whose proofs name kid. It panics on a kid or a
// private half that [Keys] would refuse the public half of.
func NewIssuer(kid string, private ed25519.PrivateKey) *Issuer {
	if !validKid(kid) || len(private) != ed25519.PrivateKeySize {
		panic("malformed kid or private half")
	}
	return &Issuer{kid: kid, private: private}
}

// Issue signs a proof that lasts from now to who.ExpiresAt, cut to whole
// seconds. It fails for an identity that [Verifier.Verify] would refuse.
func (i *Issuer) Issue(who Identity, now time.Time) (obs.Secret, error) {
	c := claims{
		Issuer: issuer, Audience: audience,
		UserID: who.UserID, SessionID: who.SessionID, DeviceID: who.DeviceID, ID: id.New(),
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: who.ExpiresAt.Unix(),
	}
	if !c.complete() {
		return obs.Secret{}, errors.New("identity lacks a part, or its life is empty or too long")
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, &c)
	t.Header["typ"], t.Header["kid"] = kind, i.kid
	raw, err := t.SignedString(i.private)
	if err != nil {
		return obs.Secret{}, fmt.Errorf("sign an identity: %w", err)
	}
	return obs.NewSecret(raw), nil
}

// Format keeps the private half out of every verb of package fmt.
func (i *Issuer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "issuer "+i.kid) }
