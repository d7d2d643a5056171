package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nova-chat/nova/internal/obs"
)

// Keys are the Ed25519 public keys with which proofs are checked, by kid. The
// set is replaced as a whole; it is safe for concurrent use.
type Keys struct {
	ring   atomic.Pointer[ring]
	wanted chan struct{}
}

// ring never changes, so that its address names the set: a cached verdict holds
// as long as the address does.
type ring struct {
	public map[string]ed25519.PublicKey
	jwks   []byte
}

// NewKeys makes an empty set, with which nothing verifies.
func NewKeys() *Keys {
	k := &Keys{wanted: make(chan struct{}, 1)}
	k.ring.Store(&ring{jwks: []byte(`{"keys":[]}`)})
	return k
}

// Wanted gives a value when a proof named a kid that the set does not hold: it may
// be newer than the set. Anybody can make up a kid, so whoever fetches the set
// anew then must bound how often.
func (k *Keys) Wanted() <-chan struct{} { return k.wanted }

func (k *Keys) want() {
	select {
	case k.wanted <- struct{}{}:
	default: // one is enough
	}
}

// maxKeys is the most public keys of one set: the one in use, the next, and the
// last few, with room.
const maxKeys = 32

// Set replaces the set. A malformed one is refused and changes nothing.
func (k *Keys) Set(public map[string]ed25519.PublicKey) error {
	if len(public) == 0 || len(public) > maxKeys {
		return fmt.Errorf("a set of verifiers has 1 to %d members, not %d", maxKeys, len(public))
	}
	set := jwkSet{Keys: []jwk{}}
	for _, kid := range slices.Sorted(maps.Keys(public)) {
		if !validKid(kid) || len(public[kid]) != ed25519.PublicKeySize {
			return errors.New("a verifier has a malformed kid or public half")
		}
		set.Keys = append(set.Keys, jwk{
			Type: "OKP", Curve: "Ed25519", ID: kid, Use: "sig", Algorithm: algorithm,
			X: base64.RawURLEncoding.EncodeToString(public[kid]),
		})
	}
	text, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("write the set of verifiers: %w", err)
	}
	own := make(map[string]ed25519.PublicKey, len(public))
	for kid, p := range public {
		own[kid] = bytes.Clone(p)
	}
	k.ring.Store(&ring{public: own, jwks: text})
	return nil
}

// jwkSet is a JWK Set (RFC 7517, with OKP keys of RFC 8037).
type jwkSet struct {
	Keys []jwk `json:"keys"`
}

type jwk struct {
	Type      string         `json:"kty"`
	Curve     string         `json:"crv,omitempty"`
	ID        string         `json:"kid,omitempty"`
	Use       string         `json:"use,omitempty"`
	Algorithm string         `json:"alg,omitempty"`
	X         string         `json:"x,omitempty"`
	Private   jsontext.Value `json:"d,omitempty"` // only to notice that it is there
}

// SetJWKS replaces the set by the Ed25519 signature keys of a JWK Set. Members
// of other types are passed over (RFC 7517 section 5). It refuses a set without
// a usable member, with a kid twice, or with a private half in it.
func (k *Keys) SetJWKS(text []byte) error {
	var set jwkSet
	if err := json.Unmarshal(text, &set); err != nil {
		return fmt.Errorf("read a set of verifiers: %w", err)
	}
	public := map[string]ed25519.PublicKey{}
	for _, m := range set.Keys {
		if m.Private != nil {
			return errors.New("a set of verifiers holds a private half")
		}
		if !m.usable() {
			continue
		}
		x, err := base64.RawURLEncoding.Strict().DecodeString(m.X)
		if err != nil {
			return fmt.Errorf("read the public half of a verifier: %w", err)
		}
		if public[m.ID] != nil {
			return errors.New("two verifiers have one kid")
		}
		public[m.ID] = x
	}
	return k.Set(public)
}

func (m jwk) usable() bool {
	return m.Type == "OKP" && m.Curve == "Ed25519" && (m.Use == "" || m.Use == "sig") && (m.Algorithm == "" || m.Algorithm == algorithm)
}

// JWKS is the set as a JWK Set, in the order of kid; never empty text.
func (k *Keys) JWKS() []byte { return bytes.Clone(k.ring.Load().jwks) }

// validKid accepts what a correlation ID may look like: it is short, and harmless
// wherever it is written.
func validKid(kid string) bool {
	_, ok := obs.ParseCorrelation(kid)
	return ok
}
