package token

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

func TestIssuedProofVerifies(t *testing.T) {
	r, who := newRig(t), someone(5*time.Minute)
	raw := r.issue(t, who)
	for _, pass := range []string{"fresh", "cached"} {
		got, err := r.verifier.Verify(context.Background(), raw)
		if err != nil {
			t.Fatalf("%s: %v", pass, err)
		}
		if diff := cmp.Diff(who, got); diff != "" {
			t.Errorf("%s identity (-issued +verified):\n%s", pass, diff)
		}
	}
	if r.issue(t, who) == raw {
		t.Error("two proofs are alike: they lack a jti")
	}
}

// bad lists the rows of bad input, each with the reason that is counted.
func bad(t testing.TB, r *rig) map[string]struct{ raw, reason string } {
	h, c := goodHeader(), goodClaims()
	now := time.Now().Unix()
	good := r.sign(h.text(t), c.text(t))
	parts := strings.Split(good, ".")
	signed := func(h, c object) string { return r.sign(h.text(t), c.text(t)) }
	other := newRig(t)
	other.private = half(2)
	mac := hmac.New(sha256.New, r.public())
	confused := encode(h.with("alg", "HS256").text(t)) + "." + parts[1]
	mac.Write([]byte(confused))
	twice := func(o object, member string) string { return strings.TrimSuffix(o.text(t), "}") + "," + member + "}" }

	rows := map[string]struct{ raw, reason string }{
		"none":                      {"", "missing"},
		"not a proof":               {"hello", "malformed"},
		"one dot":                   {parts[0] + "." + parts[1], "malformed"},
		"a fourth part":             {good + ".x", "malformed"},
		"million dots":              {strings.Repeat(".", 1e6), "malformed"},
		"8000 dots":                 {strings.Repeat(".", 8000), "malformed"},
		"1 MiB header":              {signed(h.with("kid", strings.Repeat("k", 1<<20)), c), "malformed"},
		"deep header":               {r.sign(strings.Repeat("[", 5000), c.text(t)), "malformed"},
		"deep claims":               {r.sign(h.text(t), strings.Repeat(`{"sub":`, 700)), "malformed"},
		"padding":                   {parts[0] + "=." + parts[1] + "." + parts[2], "malformed"},
		"line break":                {parts[0] + "\n." + parts[1] + "." + parts[2], "malformed"},
		"line break at the end":     {good + "\n", "malformed"},
		"space before":              {" " + good, "malformed"},
		"refresh":                   {"R~" + strings.Repeat("a", 43), "wrong_kind"},
		"alg none":                  {encode(h.with("alg", "none").text(t)) + "." + parts[1] + ".", "wrong_signature"},
		"HS256 with the public one": {confused + "." + encode(string(mac.Sum(nil))), "wrong_signature"},
		"lower-case alg":            {signed(h.with("alg", "eddsa"), c), "wrong_signature"},
		"alg missing":               {signed(h.without("alg"), c), "wrong_signature"},
		"kid missing":               {signed(h.without("kid"), c), "wrong_signature"},
		"kid unknown":               {signed(h.with("kid", "k-2"), c), "wrong_signature"},
		"kid a path":                {signed(h.with("kid", "../../dev/null"), c), "wrong_signature"},
		"kid a number":              {signed(h.with("kid", 1), c), "malformed"},
		"another's signature":       {other.sign(h.text(t), c.text(t)), "wrong_signature"},
		"no signature":              {parts[0] + "." + parts[1] + ".", "wrong_signature"},
		"changed claims":            {parts[0] + "." + encode(c.with("sub", "U2").text(t)) + "." + parts[2], "wrong_signature"},
		"typ JWT":                   {signed(h.with("typ", "JWT"), c), "wrong_kind"},
		"typ missing":               {signed(h.without("typ"), c), "wrong_kind"},
		"alg twice":                 {r.sign(twice(h, `"alg":"EdDSA"`), c.text(t)), "malformed"},
		"header other case":         {r.sign(strings.Replace(h.text(t), "alg", "Alg", 1), c.text(t)), "malformed"},
		"claims a list":             {r.sign(h.text(t), "[]"), "malformed"},
		"claims null":               {r.sign(h.text(t), "null"), "malformed"},
		"claims cut off":            {r.sign(h.text(t), `{"sub":"U1"`), "malformed"},
		"claims and more":           {r.sign(h.text(t), c.text(t)+"{}"), "malformed"},
		"sub twice":                 {r.sign(h.text(t), twice(c, `"sub":"U2"`)), "malformed"},
		"exp twice":                 {r.sign(h.text(t), twice(c, `"exp":99999999999`)), "malformed"},
		"sub not UTF-8":             {r.sign(h.text(t), strings.Replace(c.text(t), "U1", "U\xff", 1)), "malformed"},
		"sub too long":              {signed(h, c.with("sub", strings.Repeat("U", 300))), "malformed"},
		"aud a list":                {signed(h, c.with("aud", []string{"nova"})), "malformed"},
		"aud another":               {signed(h, c.with("aud", "nova-admin")), "wrong_audience"},
		"iss another":               {signed(h, c.with("iss", "https://nova")), "wrong_audience"},
		"exp in other case":         {signed(h, c.without("exp").with("EXP", now+300)), "malformed"},
		"exp negative":              {signed(h, c.with("exp", -1)), "malformed"},
		"exp far":                   {signed(h, c.with("exp", now+int64(MaxLife/time.Second)+1)), "malformed"},
		"exp largest":               {signed(h, c.with("exp", int64(1<<63-1))), "malformed"},
		"exp before iat":            {signed(h, c.with("exp", now-1)), "malformed"},
		"over":                      {signed(h, c.with("iat", now-400).with("exp", now)), "expired"},
		"nbf ahead":                 {signed(h, c.with("nbf", now+120)), "not_yet_valid"},
		"iat ahead":                 {signed(h, c.with("iat", now+120).with("exp", now+600)), "not_yet_valid"},
		"iat and exp far apart":     {signed(h, c.with("iat", -1<<63)), "malformed"},
		"session revoked":           {signed(h, c.with("sid", "gone")), "revoked"},
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c", "x5t", "crit", "b64", "zip", "cty"} {
		rows["header "+name] = struct{ raw, reason string }{signed(h.with(name, "https://evil.example"), c), "malformed"}
	}
	for _, name := range []string{"iss", "aud", "sub", "sid", "did", "jti", "iat", "nbf", "exp"} {
		reason := map[string]string{"iss": "wrong_audience", "aud": "wrong_audience"}[name]
		if reason == "" {
			reason = "malformed"
		}
		rows[name+" missing"] = struct{ raw, reason string }{signed(h, c.without(name)), reason}
	}
	for _, v := range []string{"1e400", "1e10", fmt.Sprint(now+300) + ".0", fmt.Sprint(now+300) + ".5", "9223372036854775808", `"` + fmt.Sprint(now+300) + `"`, "true", "[]"} {
		rows["exp "+v] = struct{ raw, reason string }{r.sign(h.text(t), c.without("exp").splice(t, "exp", v)), "malformed"}
	}
	return rows
}

// splice is the object's text with one more member that need not be valid JSON.
func (o object) splice(t testing.TB, name, value string) string {
	return strings.TrimSuffix(o.text(t), "}") + `,"` + name + `":` + value + "}"
}

func TestBadProofsAreRefusedAlike(t *testing.T) {
	r := newRig(t)
	r.revoked.Revoke("gone", time.Now().Add(time.Hour))
	var first *fault.Error
	for name, row := range bad(t, r) {
		for range 2 { // nothing bad may be in the cache the second time
			_, err := r.verifier.Verify(context.Background(), row.raw)
			reason, ok := r.verifier.Reason(err)
			if err == nil || !ok || reason.String() != row.reason {
				t.Errorf("%s: refused as %v (%v), want %s", name, reason, err, row.reason)
				break
			}
			f := fault.From(err)
			if first == nil {
				first = f
			}
			if f.Code != fault.CodeUnauthenticated || f.Detail != first.Detail || f.Fields != nil || f.RetryAfter != 0 {
				t.Errorf("%s: the caller can tell it from others: %+v", name, f)
			}
		}
	}
}

func TestBadProofsCostLittle(t *testing.T) {
	r := newRig(t)
	r.revoked.Revoke("gone", time.Now().Add(time.Hour))
	const times, most = 20, 64 << 10
	for name, row := range bad(t, r) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			_, _ = r.verifier.Verify(context.Background(), row.raw)
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / times; got > most {
			t.Errorf("%s: %d bytes to refuse it, at most %d", name, got, most)
		}
	}
}

func TestRefusalsAreCountedAndLogged(t *testing.T) {
	r := newRig(t)
	raw := r.sign(goodHeader().text(t), goodClaims().with("aud", "other").text(t))
	ctx := obs.WithCorrelation(context.Background(), "test-123")
	_, _ = r.verifier.Verify(ctx, raw)
	scrape := httptest.NewRecorder()
	r.obs.Metrics.Handler().ServeHTTP(scrape, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if line := `identity_refusals_total{reason="wrong_audience"} 1` + "\n"; !strings.Contains(scrape.Body.String(), line) {
		t.Errorf("the metrics lack %s", line)
	}
	l := r.log.String()
	for _, want := range []string{`"reason":"wrong_audience"`, `"correlation_id":"test-123"`} {
		if !strings.Contains(l, want) {
			t.Errorf("the log lacks %s: %s", want, l)
		}
	}
	if strings.Contains(l, raw[:20]) || strings.Contains(strings.ToLower(l), "token") || strings.Contains(strings.ToLower(l), "key") {
		t.Errorf("the log says too much: %s", l)
	}
	if _, ok := r.verifier.Reason(fault.New(fault.CodeUnauthenticated, "")); ok {
		t.Error("a fault from elsewhere has a reason")
	}
}

func TestExpiryAndLeeway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		raw := r.issue(t, someone(5*time.Minute))
		early, err := r.issuer.Issue(Identity{UserID: "U", SessionID: "S", DeviceID: "d", ExpiresAt: time.Now().Add(time.Hour)}, time.Now().Add(61*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.reason(t, early.Reveal()); got != "not_yet_valid" {
			t.Errorf("61 s ahead: %q", got)
		}
		time.Sleep(time.Second)
		if got := r.reason(t, early.Reveal()); got != "" {
			t.Errorf("60 s ahead: %q", got)
		}
		time.Sleep(5*time.Minute - time.Second - time.Millisecond)
		if got := r.reason(t, raw); got != "" {
			t.Errorf("a millisecond before its end: %q", got)
		}
		time.Sleep(time.Millisecond)
		if got := r.reason(t, raw); got != "expired" {
			t.Errorf("at its end, from the cache: %q", got)
		}
	})
}

func TestCachedProofIsStillRevocable(t *testing.T) {
	r := newRig(t)
	raw := r.issue(t, someone(time.Hour))
	if got := r.reason(t, raw); got != "" {
		t.Fatal(got)
	}
	r.revoked.Revoke("S1", time.Now().Add(time.Hour))
	if got := r.reason(t, raw); got != "revoked" {
		t.Errorf("%q", got)
	}
}

// signedByHand checks a signature without the code under test.
func signedByHand(r *rig, raw string) bool {
	dot := strings.LastIndex(raw, ".")
	sig, err := base64.RawURLEncoding.DecodeString(raw[dot+1:])
	return err == nil && encode(string(sig)) == raw[dot+1:] && ed25519.Verify(r.public(), []byte(raw[:dot]), sig)
}

func FuzzVerify(f *testing.F) {
	r := newRig(f)
	r.revoked.Revoke("gone", time.Now().Add(time.Hour))
	for _, row := range bad(f, r) {
		if len(row.raw) <= 2*MaxLen {
			f.Add(row.raw)
		}
	}
	f.Add(r.issue(f, someone(time.Hour)))
	f.Fuzz(func(t *testing.T, raw string) {
		id, err := r.verifier.Verify(context.Background(), raw)
		if err == nil {
			if !signedByHand(r, raw) {
				t.Errorf("a proof that nobody signed verifies: %q", raw)
			}
			return
		}
		if _, ok := r.verifier.Reason(err); !ok || !fault.Is(err, fault.CodeUnauthenticated) || id != (Identity{}) {
			t.Errorf("refused with %v and %+v", err, id)
		}
	})
}

func BenchmarkVerifyCached(b *testing.B) {
	r := newRig(b)
	raw := r.issue(b, someone(time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.verifier.Verify(context.Background(), raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyFresh(b *testing.B) {
	r := newRig(b)
	raw := r.issue(b, someone(time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		r.verifier.cache = cache{}
		if _, err := r.verifier.Verify(context.Background(), raw); err != nil {
			b.Fatal(err)
		}
	}
}
