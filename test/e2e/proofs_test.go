package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/app"
)

// wantRefused asks with a proof and wants the one answer that all refused
// proofs get; it is given without its correlation ID. reason is the counter
// that must move, alone.
func (s *scene) wantRefused(t *testing.T, proof, reason string) (doc string) {
	t.Helper()
	before := s.n.metrics(t)
	a := person{n: s.n, access: proof}.call("GET", "users/me", nil)
	a.wantProblem(t, 401, "unauthenticated", "")
	want := "Bearer"
	if proof != "" {
		want = `Bearer error="invalid_token"`
	}
	if got := a.header.Get("WWW-Authenticate"); got != want {
		t.Errorf("WWW-Authenticate is %q, want %q", got, want)
	}
	s.n.wantAdded(t, before, map[string]float64{`identity_refusals_total{reason="` + reason + `"}`: 1}, "identity_refusals_total")
	return strings.Replace(string(a.raw), a.text("correlation_id"), "", 1)
}

// refusedProofs: one body for all, the reason only in the counter.
func refusedProofs(t *testing.T, s *scene) {
	good := s.alice.access
	cut := strings.LastIndexByte(good, '.')
	other := byte('A')
	if good[cut+1] == other {
		other = 'B'
	}
	first := ""
	for _, c := range []struct{ name, proof, reason string }{
		{"none", "", "missing"},
		{"malformed", canary, "malformed"},
		{"three parts of nothing", "a.b.c", "malformed"},
		{"expired", s.expired(t), "expired"},
		{"wrong signature", good[:cut+1] + string(other) + good[cut+2:], "wrong_signature"},
		{"no signature", good[:cut+1], "wrong_signature"},
		{"signed by somebody else", forge(t, good, nil, nil), "wrong_signature"},
		{"for another audience, by somebody else", forge(t, good, nil, map[string]any{"aud": "other"}), "wrong_signature"},
		{"refresh for access", s.alice.refresh, "wrong_kind"},
		{"8 KiB", strings.Repeat("a", 9<<10), "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := s.wantRefused(t, c.proof, c.reason)
			if first == "" {
				first = doc
			}
			if doc != first {
				t.Errorf("the answer differs from that for none: %s and %s", doc, first)
			}
		})
	}
	// Another audience under our own signature: only auth's private half could
	// make it; the unit tests of package token hold that case.
	for _, header := range []string{"Basic YWxpY2U6eA==", "Bearer", "Bearer  ", "bearer x", good} {
		person{n: s.n}.call("GET", "users/me", nil, "Authorization", header).wantProblem(t, 401, "unauthenticated", "")
	}
	two := s.n.raw(t, "GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+good+"\r\nAuthorization: Bearer "+good+"\r\n\r\n")
	two[0].wantProblem(t, 401, "unauthenticated", "")
}

// expired waits until a proof under the server's own signature is over.
func (s *scene) expired(t *testing.T) string {
	t.Helper()
	n := *s.n
	n.t = t
	within(t, "the end of a proof", func() bool { return person{n: &n, access: s.shortLived}.call("GET", "users/me", nil).status == 401 })
	return s.shortLived
}

// seed makes accounts with a session each beside the running server.
func (n *node) seed(t *testing.T, prefix string, count int, life time.Duration) (all []person) {
	t.Helper()
	opt := app.SeedOptions{Config: n.cfg, Users: count, Prefix: prefix, AccessTTL: life}
	err := app.Seed(context.Background(), opt, func(u app.SeededUser) error {
		all = append(all, person{n: n, id: u.UserID, name: u.Username, device: u.DeviceID, access: u.Access.Reveal(), session: u.SessionID})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// forge signs the claims of a proof, changed, with a private half of our own.
func forge(t *testing.T, good string, header, claims map[string]any) string {
	t.Helper()
	parts := strings.Split(good, ".")
	signed := edit(t, parts[0], header) + "." + edit(t, parts[1], claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(ed25519.NewKeyFromSeed(make([]byte, 32)), []byte(signed)))
}

// edit changes the members of one part; nil removes one.
func edit(t *testing.T, part string, changes map[string]any) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	for name, v := range changes {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// forgedProofs are the attacks on the JOSE family that RFC 8725 lists.
func forgedProofs(t *testing.T, s *scene) {
	good := s.alice.access
	parts := strings.Split(good, ".")
	none := edit(t, parts[0], map[string]any{"alg": "none"}) + "." + parts[1] + "."
	twice := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"x","sub":"y"}`))
	for _, c := range []struct{ name, proof, reason string }{
		{"alg none", none, "wrong_signature"},
		{"alg none with the signature", none + parts[2], "wrong_signature"},
		{"HS256 with the public half", s.hs256(t, good), "wrong_signature"},
		{"alg in another case", forge(t, good, map[string]any{"alg": "EDDSA"}, nil), "wrong_signature"},
		{"unknown kid", forge(t, good, map[string]any{"kid": canary}, nil), "wrong_signature"},
		{"kid as a path", forge(t, good, map[string]any{"kid": "../../../dev/null"}, nil), "wrong_signature"},
		{"no kid", forge(t, good, map[string]any{"kid": nil}, nil), "wrong_signature"},
		{"jku", forge(t, good, map[string]any{"jku": "http://127.0.0.1:1/" + canary}, nil), "malformed"},
		{"x5u", forge(t, good, map[string]any{"x5u": "http://127.0.0.1:1/" + canary}, nil), "malformed"},
		{"jwk", forge(t, good, map[string]any{"jwk": map[string]any{"kty": "OKP"}}, nil), "malformed"},
		{"crit", forge(t, good, map[string]any{"crit": []string{"exp"}}, nil), "malformed"},
		{"another typ", forge(t, good, map[string]any{"typ": "JWT"}, nil), "wrong_kind"},
		{"claims twice", parts[0] + "." + twice + "." + parts[2], "malformed"},
		{"aud as a list", forge(t, good, nil, map[string]any{"aud": []string{"nova"}}), "malformed"},
		{"exp as a fraction", forge(t, good, nil, map[string]any{"exp": 4e9 + .5}), "malformed"},
		{"exp of 1e400", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1e400}`)) + "." + parts[2], "malformed"},
		{"exp below zero", forge(t, good, nil, map[string]any{"exp": -1}), "wrong_signature"},
		{"8,000 dots", strings.Repeat(".", 8000), "malformed"},
		{"line break", good[:20] + "%0a" + good[20:], "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) { s.wantRefused(t, c.proof, c.reason) })
	}
	for _, size := range []int{1_000_000, 1 << 20} { // cut off before anybody looks
		got := s.n.raw(t, "GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+strings.Repeat(".", size)+"\r\n\r\n")
		if len(got) != 1 || got[0].status != 431 {
			t.Errorf("%d dots: %v", size, got)
		}
	}
}

// hs256 signs with the public half as if it were a shared secret.
func (s *scene) hs256(t *testing.T, good string) string {
	t.Helper()
	res, err := s.n.client().Get(s.n.url + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []struct{ X, Kid string } }
	if err := json.Unmarshal(raw, &set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("%s: %v", raw, err)
	}
	public, err := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	signed := edit(t, parts[0], map[string]any{"alg": "HS256", "kid": set.Keys[0].Kid}) + "." + parts[1]
	mac := hmac.New(sha256.New, public)
	fmt.Fprint(mac, signed)
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
