package token

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// MaxLen is the length in bytes beyond which a proof is not even looked at.
const MaxLen = 8 << 10

// detail is all that a refused caller is told: the reasons must not differ on
// the wire.
const detail = "The request needs a valid proof of identity."

// Verifier checks proofs of identity. It is safe for concurrent use.
type Verifier struct {
	obs     *obs.Obs
	keys    *Keys
	revoked *Revocations
	parser  *jwt.Parser
	cache   cache
}

// NewVerifier makes a verifier that trusts what is in k, minus what is in r.
func NewVerifier(o *obs.Obs, k *Keys, r *Revocations) *Verifier {
	return &Verifier{obs: o, keys: k, revoked: r, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{algorithm}),
		jwt.WithStrictDecoding(),
		jwt.WithoutClaimsValidation(), // claims.refusal does it
	)}
}

// refusal is the cause inside the fault that Verify gives.
type refusal struct{ reason obs.IdentityReason }

func (r *refusal) Error() string { return "identity refused: " + r.reason.String() }

// Verify gives the identity that raw proves, or the fault unauthenticated, which
// reads the same whatever was wrong; [Verifier.Reason] tells its reason. An empty
// raw is a caller without a proof.
func (v *Verifier) Verify(ctx context.Context, raw string) (Identity, error) {
	c, err := v.signed(raw)
	if err != nil {
		return Identity{}, v.refuse(ctx, err.reason)
	}
	if reason, ok := c.refusal(time.Now()); !ok {
		return Identity{}, v.refuse(ctx, reason)
	}
	if v.revoked.Has(c.SessionID) {
		return Identity{}, v.refuse(ctx, obs.IdentityRevoked)
	}
	return c.identity(), nil
}

// Reason says why Verify refused; ok is false if err is not from there.
func (v *Verifier) Reason(err error) (reason obs.IdentityReason, ok bool) {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return 0, false
	}
	return r.reason, true
}

func (v *Verifier) refuse(ctx context.Context, reason obs.IdentityReason) error {
	v.obs.Metrics.IdentityRefusals.Inc(reason)
	if v.obs.Sample(obs.SiteIdentity) {
		v.obs.Log(obs.Auth).LogAttrs(ctx, slog.LevelInfo, "identity refused",
			slog.String("op", "identity.verify"), slog.String("reason", reason.String()))
	}
	return fault.Wrap(fault.CodeUnauthenticated, &refusal{reason}, detail)
}

// signed gives the claims of a proof that one of our issuers signed.
func (v *Verifier) signed(raw string) (*claims, *refusal) {
	switch {
	case raw == "":
		return nil, &refusal{obs.IdentityMissing}
	case len(raw) > MaxLen:
		return nil, &refusal{obs.IdentityMalformed}
	case strings.Contains(raw, "~"): // only the opaque ones have it: refresh, ticket
		return nil, &refusal{obs.IdentityWrongKind}
	case !compact(raw):
		return nil, &refusal{obs.IdentityMalformed}
	}
	sum, ring := sha256.Sum256([]byte(raw)), v.keys.ring.Load()
	if c, ok := v.cache.get(sum, ring); ok {
		return c, nil
	}
	c, err := v.parse(raw, ring)
	if err != nil {
		return nil, err
	}
	v.cache.add(sum, c, ring)
	return c, nil
}

// compact says whether raw has only characters of the compact form (RFC 7515
// section 7.1). The base 64 decoder would pass over line breaks, and then one
// proof would have many spellings.
func compact(raw string) bool {
	for i := range len(raw) {
		switch c := raw[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

func (v *Verifier) parse(raw string, ring *ring) (*claims, *refusal) {
	kid, err := readHeader(raw)
	if err != nil {
		return nil, err
	}
	c := &claims{}
	_, failed := v.parser.ParseWithClaims(raw, c, func(*jwt.Token) (any, error) {
		public, ok := ring.public[kid]
		if !ok {
			v.keys.want()
			return nil, jwt.ErrTokenSignatureInvalid
		}
		return public, nil
	})
	switch {
	case failed == nil:
		return c, nil
	case errors.Is(failed, jwt.ErrTokenSignatureInvalid):
		return nil, &refusal{obs.IdentityWrongSignature}
	}
	return nil, &refusal{obs.IdentityMalformed}
}

// readHeader reads the first part strictly, which the library does not, and
// gives the kid. It runs before anything else is decoded.
func readHeader(raw string) (kid string, err *refusal) {
	part, _, found := strings.Cut(raw, ".")
	text, decodeErr := base64.RawURLEncoding.Strict().DecodeString(part)
	if !found || decodeErr != nil {
		return "", &refusal{obs.IdentityMalformed}
	}
	var h header
	switch jsonErr := json.Unmarshal(text, &h, json.RejectUnknownMembers(true)); {
	case jsonErr != nil:
		return "", &refusal{obs.IdentityMalformed}
	case h.Algorithm != algorithm:
		return "", &refusal{obs.IdentityWrongSignature}
	case h.Type != kind:
		return "", &refusal{obs.IdentityWrongKind}
	}
	return h.KeyID, nil
}
