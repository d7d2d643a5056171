package token

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"github.com/nova-chat/nova/internal/obs"
)

const (
	issuer    = "nova"
	audience  = "nova"
	kind      = "at+jwt" // RFC 9068
	algorithm = "EdDSA"  // RFC 8037

	// MaxLife is the longest life of a proof: that of a session. What claims to
	// live longer is not ours.
	MaxLife = 90 * 24 * time.Hour

	// leeway is how far the issuer's clock may be ahead of ours. The end gets
	// none: a proof is never good for longer than it says.
	leeway = 60 * time.Second

	maxName = 256 // bytes of an identifier in a claim
)

// header is all that a header may say. Members that tell the reader where to
// find a key (jku, jwk, x5u, x5c) or that it must understand more (crit) are
// refused by being unknown.
type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid"`
}

// claims are what a proof says. Times are whole seconds since 1970 (RFC 7519
// allows fractions; ours have none).
type claims struct {
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	UserID    string `json:"sub"`
	SessionID string `json:"sid"`
	DeviceID  string `json:"did"`
	ID        string `json:"jti"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	Expires   int64  `json:"exp"`
}

// UnmarshalJSON reads strictly: no duplicate members, no other-case names, no
// list as audience, no fraction or exponent in a time. Unknown members pass, so
// that a newer node may say more.
func (c *claims) UnmarshalJSON(b []byte) error {
	type plain claims // without this method
	return json.Unmarshal(b, (*plain)(c))
}

// refusal judges the claims at a moment, except for the signature and for
// revocation; ok is true if there is nothing against them.
func (c *claims) refusal(now time.Time) (reason obs.IdentityReason, ok bool) {
	switch {
	case !c.complete():
		return obs.IdentityMalformed, false
	case c.Issuer != issuer || c.Audience != audience:
		return obs.IdentityWrongAudience, false
	case now.Unix() >= c.Expires:
		return obs.IdentityExpired, false
	case max(c.NotBefore, c.IssuedAt) > now.Add(leeway).Unix():
		return obs.IdentityNotYetValid, false
	}
	return 0, true
}

// complete says whether every claim is there and the times make sense together.
func (c *claims) complete() bool {
	for _, s := range []string{c.UserID, c.SessionID, c.DeviceID, c.ID} {
		if s == "" || len(s) > maxName {
			return false
		}
	}
	return c.IssuedAt > 0 && c.NotBefore > 0 && c.Expires > c.IssuedAt &&
		c.Expires-c.IssuedAt <= int64(MaxLife/time.Second)
}

func (c *claims) identity() Identity {
	return Identity{UserID: c.UserID, SessionID: c.SessionID, DeviceID: c.DeviceID, ExpiresAt: time.Unix(c.Expires, 0).UTC()}
}

// The library asks for these; [claims.refusal] is what judges, because the
// library grants its leeway to the end as well.

var errUnused = errors.New("claims are not judged by the library")

// GetExpirationTime is part of jwt.Claims.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return nil, errUnused }

// GetIssuedAt is part of jwt.Claims.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return nil, errUnused }

// GetNotBefore is part of jwt.Claims.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return nil, errUnused }

// GetIssuer is part of jwt.Claims.
func (c *claims) GetIssuer() (string, error) { return "", errUnused }

// GetSubject is part of jwt.Claims.
func (c *claims) GetSubject() (string, error) { return "", errUnused }

// GetAudience is part of jwt.Claims.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return nil, errUnused }
