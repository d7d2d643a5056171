package token

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func publicHalf(n byte) ed25519.PublicKey { return half(n).Public().(ed25519.PublicKey) }

func TestJWKSGoesThere(t *testing.T) {
	a, b := NewKeys(), NewKeys()
	if got := string(a.JWKS()); got != `{"keys":[]}` {
		t.Errorf("an empty set reads %s", got)
	}
	if err := a.Set(map[string]ed25519.PublicKey{"k-2": publicHalf(2), "k-1": publicHalf(1)}); err != nil {
		t.Fatal(err)
	}
	if err := b.SetJWKS(a.JWKS()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(a.JWKS()), string(b.JWKS())); diff != "" {
		t.Errorf("sets differ:\n%s", diff)
	}
	text := string(a.JWKS())
	for _, want := range []string{`"kty":"OKP"`, `"crv":"Ed25519"`, `"alg":"EdDSA"`, `"use":"sig"`, `"kid":"k-1"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	if strings.Contains(text, `"d"`) || strings.Index(text, "k-1") > strings.Index(text, "k-2") {
		t.Errorf("the set reads %s", text)
	}
}

func TestMalformedSetsChangeNothing(t *testing.T) {
	const x = `"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	const ok = `{"kty":"OKP","crv":"Ed25519","kid":"a",` + x + `}`
	k := NewKeys()
	if err := k.SetJWKS([]byte(`{"keys":[` + ok + `,{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"X25519","kid":"e",` + x + `}]}`)); err != nil {
		t.Fatalf("a set with members of other types: %v", err)
	}
	before := string(k.JWKS())
	for name, text := range map[string]string{
		"no JSON":          `keys`,
		"nothing usable":   `{"keys":[{"kty":"RSA","kid":"r"}]}`,
		"for encryption":   `{"keys":[` + strings.Replace(ok, `{`, `{"use":"enc",`, 1) + `]}`,
		"another alg":      `{"keys":[` + strings.Replace(ok, `{`, `{"alg":"ES256",`, 1) + `]}`,
		"empty":            `{}`,
		"kid twice":        `{"keys":[` + ok + `,` + ok + `]}`,
		"kid missing":      `{"keys":[{"kty":"OKP","crv":"Ed25519",` + x + `}]}`,
		"x too short":      `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"}]}`,
		"x not base64":     `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"!!"}]}`,
		"a private half":   `{"keys":[` + strings.Replace(ok, `{`, `{"d":"AAAA",`, 1) + `]}`,
		"duplicate member": `{"keys":[],"keys":[` + ok + `]}`,
		"too many":         `{"keys":[` + many(maxKeys+1, x) + `]}`,
	} {
		err := k.SetJWKS([]byte(text))
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: the error shows a value: %v", name, err)
		}
		if got := string(k.JWKS()); got != before {
			t.Fatalf("%s: the set is now %s", name, got)
		}
	}
}

func many(n int, x string) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"k%d",%s}`, i, x))
	}
	return strings.Join(all, ",")
}

func TestRotation(t *testing.T) {
	r := newRig(t)
	raw := r.issue(t, someone(time.Hour))
	set := func(public map[string]ed25519.PublicKey) {
		t.Helper()
		if err := r.keys.Set(public); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.reason(t, raw); got != "" {
		t.Fatal(got)
	}
	set(map[string]ed25519.PublicKey{rigKid: r.public(), "k-2": publicHalf(2)})
	if got := r.reason(t, raw); got != "" {
		t.Errorf("while both overlap: %q", got)
	}
	next, err := NewIssuer("k-2", half(2)).Issue(someone(time.Hour), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.verifier.Verify(context.Background(), next.Reveal()); err != nil {
		t.Errorf("the next one: %v", err)
	}
	set(map[string]ed25519.PublicKey{"k-2": publicHalf(2)})
	if got := r.reason(t, raw); got != "wrong_signature" {
		t.Errorf("after the first is gone, from the cache: %q", got)
	}
}

func TestAnUnknownKidIsWanted(t *testing.T) {
	r := newRig(t)
	wanted := func() bool {
		select {
		case <-r.keys.Wanted():
			return true
		default:
			return false
		}
	}
	good := r.issue(t, someone(time.Minute))
	refused := func(raw string) bool {
		_, err := r.verifier.Verify(t.Context(), raw)
		return err != nil
	}
	if refused(good) || !refused(good[:len(good)-4]) || wanted() {
		t.Error("asked for a set that holds the kid")
	}
	for range 3 {
		if !refused(r.sign(goodHeader().with("kid", "newer").text(t), goodClaims().text(t))) {
			t.Fatal("an unknown kid was accepted")
		}
	}
	if !wanted() || wanted() {
		t.Error("want one wish for all that came")
	}
}

func TestIssuerRefusesWhatNobodyWouldVerify(t *testing.T) {
	r, now := newRig(t), time.Now()
	for name, change := range map[string]func(*Identity){
		"no user":    func(i *Identity) { i.UserID = "" },
		"no session": func(i *Identity) { i.SessionID = "" },
		"no device":  func(i *Identity) { i.DeviceID = "" },
		"no life":    func(i *Identity) { i.ExpiresAt = now },
		"zero end":   func(i *Identity) { i.ExpiresAt = time.Time{} },
		"long life":  func(i *Identity) { i.ExpiresAt = now.Add(MaxLife + time.Minute) },
		"long name":  func(i *Identity) { i.DeviceID = strings.Repeat("d", maxName+1) },
	} {
		who := someone(time.Minute)
		change(&who)
		if s, err := r.issuer.Issue(who, now); err == nil || !s.Empty() {
			t.Errorf("%s: issued", name)
		}
	}
}

func TestIssuerDoesNotPrintItsHalf(t *testing.T) {
	r := newRig(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, r.issuer); got != "issuer "+rigKid {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	for name, fn := range map[string]func(){
		"kid":  func() { NewIssuer("a b", r.private) },
		"half": func() { NewIssuer("k", r.private[:31]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a malformed %s was accepted", name)
				}
			}()
			fn()
		}()
	}
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	set, cl := &ring{}, &claims{}
	sum := func(i int) (s [32]byte) { s[0], s[1], s[2] = byte(i), byte(i>>8), byte(i>>16); return s }
	for i := range 5 * generation {
		c.add(sum(i), cl, set)
		if _, ok := c.get(sum(0), set); !ok {
			t.Fatalf("what is in use was dropped after %d", i)
		}
		if n := len(c.young) + len(c.old); n > 2*generation {
			t.Fatalf("%d entries", n)
		}
	}
	if _, ok := c.get(sum(1), set); ok {
		t.Error("what is not in use was kept")
	}
	if _, ok := c.get(sum(0), &ring{}); ok {
		t.Error("a verdict outlived its set")
	}
}
