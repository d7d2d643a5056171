package token

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"maps"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/nova-chat/nova/internal/obs"
)

// rig is a verifier with the issuer that it trusts. Its halves are fixed, so
// that fuzz seeds stay valid.
type rig struct {
	obs      *obs.Obs
	log      *bytes.Buffer
	private  ed25519.PrivateKey
	keys     *Keys
	revoked  *Revocations
	issuer   *Issuer
	verifier *Verifier
}

const rigKid = "k-1"

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{log: &bytes.Buffer{}, keys: NewKeys(), revoked: NewRevocations()}
	var err error
	if r.obs, err = obs.New(obs.Config{Out: r.log}); err != nil {
		t.Fatal(err)
	}
	r.private = half(1)
	if err := r.keys.Set(map[string]ed25519.PublicKey{rigKid: r.public()}); err != nil {
		t.Fatal(err)
	}
	r.issuer = NewIssuer(rigKid, r.private)
	r.verifier = NewVerifier(r.obs, r.keys, r.revoked)
	return r
}

// half makes a private half from a number.
func half(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func (r *rig) public() ed25519.PublicKey { return r.private.Public().(ed25519.PublicKey) }

func someone(life time.Duration) Identity {
	return Identity{UserID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", SessionID: "S1", DeviceID: "laptop", ExpiresAt: time.Now().Add(life).Truncate(time.Second).UTC()}
}

// issue makes a good proof.
func (r *rig) issue(t testing.TB, who Identity) string {
	t.Helper()
	s, err := r.issuer.Issue(who, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s.Reveal()
}

// reason is why raw is refused, "" if it is not.
func (r *rig) reason(t testing.TB, raw string) string {
	t.Helper()
	_, err := r.verifier.Verify(context.Background(), raw)
	if err == nil {
		return ""
	}
	reason, ok := r.verifier.Reason(err)
	if !ok {
		t.Fatalf("a refusal without a reason: %v", err)
	}
	return reason.String()
}

// object is a JSON object in the making.
type object map[string]any

func (o object) with(name string, value any) object {
	c := maps.Clone(o)
	c[name] = value
	return c
}

func (o object) without(name string) object {
	c := maps.Clone(o)
	delete(c, name)
	return c
}

func (o object) text(t testing.TB) string {
	t.Helper()
	b, err := json.Marshal(o, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func goodHeader() object { return object{"alg": "EdDSA", "typ": "at+jwt", "kid": rigKid} }

func goodClaims() object {
	now := time.Now().Unix()
	return object{
		"iss": "nova", "aud": "nova", "sub": "U1", "sid": "S1", "did": "laptop", "jti": "J1",
		"iat": now, "nbf": now, "exp": now + 300,
	}
}

// sign makes a proof of any header and claims, with a right signature.
func (r *rig) sign(header, claims string) string {
	text := encode(header) + "." + encode(claims)
	return text + "." + encode(string(ed25519.Sign(r.private, []byte(text))))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
