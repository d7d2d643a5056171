package web

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
)

type whoAnswer struct {
	UserID  string `json:"user_id"`
	Refused bool   `json:"refused"`
	Address string `json:"address"`
}

func (e *edge) who(t *testing.T, path string, header ...string) whoAnswer {
	t.Helper()
	w := e.call("GET", path, "", header...)
	var a whoAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return a
}

func TestIdentityReachesTheHandler(t *testing.T) {
	e := newEdge(t, nil)
	proof := e.bearer(t, "ALICE")
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER   "} {
		if a := e.who(t, "/api/v1/me", "Authorization", scheme+proof); a.UserID != "ALICE" || a.Refused {
			t.Errorf("%q: %+v", scheme, a)
		}
	}
	if !strings.Contains(e.log.String(), `"user_id":"ALICE"`) {
		t.Errorf("the log does not say who called: %s", e.log)
	}
	if strings.Contains(e.log.String(), proof) {
		t.Error("the log holds the proof")
	}
}

func TestRefusedIdentitiesReadTheSame(t *testing.T) {
	e := newEdge(t, nil)
	other := newEdge(t, nil).bearer(t, "ALICE") // signed by somebody else
	bodies := map[string]bool{}
	for _, header := range []string{"", "Bearer x", "Bearer " + other, "Bearer a~b", "Basic eA=="} {
		w := e.call("GET", "/api/v1/me", "", correlationHeader, "same", "Authorization", header)
		wantProblem(t, w, 401, fault.CodeUnauthenticated)
		bodies[w.Body.String()] = true
		want := `Bearer error="invalid_token"`
		if header == "" {
			want = "Bearer"
		}
		if got := w.Header().Get("WWW-Authenticate"); got != want {
			t.Errorf("%q: WWW-Authenticate %q, want %q", header, got, want)
		}
	}
	if len(bodies) != 1 {
		t.Errorf("the bodies differ: %v", bodies)
	}
}

func TestOptionalIdentity(t *testing.T) {
	e := newEdge(t, nil)
	if a := e.who(t, "/api/v1/maybe"); a.UserID != "" || a.Refused {
		t.Errorf("without a proof: %+v", a)
	}
	e.wantMetric(t, `identity_refusals_total{reason="missing"}`, "0")
	if a := e.who(t, "/api/v1/maybe", "Authorization", "Bearer x"); a.UserID != "" || !a.Refused {
		t.Errorf("with a bad proof: %+v", a)
	}
	if a := e.who(t, "/api/v1/maybe", "Authorization", "Bearer "+e.bearer(t, "BOB")); a.UserID != "BOB" || a.Refused {
		t.Errorf("with a good proof: %+v", a)
	}
}

func TestRequestsPerUser(t *testing.T) {
	e := newEdge(t, func(c *Config) { c.RequestsPerUser = limit.Rate{PerSecond: 0.5, Burst: 2} })
	alice, bob := "Bearer "+e.bearer(t, "ALICE"), "Bearer "+e.bearer(t, "BOB")
	e.who(t, "/api/v1/me", "Authorization", alice)
	e.who(t, "/api/v1/me", "Authorization", alice)
	w := e.call("GET", "/api/v1/me", "", "Authorization", alice)
	p := wantProblem(t, w, 429, fault.CodeRateLimited)
	if p.RetryAfterMS <= 0 || p.RetryAfterMS > 2000 {
		t.Errorf("retry_after_ms %d", p.RetryAfterMS)
	}
	for name, want := range map[string]string{
		"Retry-After": "2", "RateLimit": `"requests_per_user";r=0;t=2`, "RateLimit-Policy": `"requests_per_user";q=2;w=4`,
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	e.who(t, "/api/v1/me", "Authorization", bob)
	e.who(t, "/api/v1/maybe", "Authorization", alice) // not a call of the user's
}

func TestLimitPerAddressIgnoresWhatStrangersForward(t *testing.T) {
	e := newEdge(t, nil)
	codes := []int{}
	for i := range 4 {
		forged := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String()
		codes = append(codes, e.call("POST", "/api/v1/login", "", "X-Forwarded-For", forged, "Forwarded", "for="+forged, "X-Real-IP", forged).Code)
	}
	if codes[0] != 204 || codes[1] != 204 || codes[2] != 429 || codes[3] != 429 {
		t.Errorf("statuses %v, want 204 204 429 429", codes)
	}
}

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	many := strings.Repeat("203.0.113.9,", 500) + strings.Repeat("10.1.1.1,", 30) + "10.0.0.2"
	for _, c := range []struct {
		name      string
		trusted   bool
		forwarded []string
		want      string
	}{
		{"no proxy", false, nil, "192.0.2.1"},
		{"a stranger forwards", false, []string{"198.51.100.7"}, "192.0.2.1"},
		{"one proxy", true, []string{"198.51.100.7"}, "198.51.100.7"},
		{"the client prepends", true, []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		{"two proxies", true, []string{"203.0.113.9, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"two lines", true, []string{"198.51.100.7", "10.0.0.2"}, "198.51.100.7"},
		{"garbage", true, []string{"198.51.100.7, what?, 10.0.0.2"}, "10.0.0.2"},
		{"empty", true, []string{""}, "192.0.2.1"},
		{"too many", true, []string{many}, "10.1.1.1"},
		{"IPv6 with zone and port", true, []string{"[2001:db8::1%eth0]:80"}, "2001:db8::1"},
		{"IPv4 in IPv6", true, []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEdge(t, func(cfg *Config) {
				if c.trusted {
					cfg.TrustedProxies = trusted
				}
			})
			var header []string
			for _, f := range c.forwarded {
				header = append(header, "X-Forwarded-For", f)
			}
			if a := e.who(t, "/api/v1/maybe", header...); a.Address != c.want {
				t.Errorf("address %q, want %q", a.Address, c.want)
			}
		})
	}
}

func TestLimitKeyTakesAnIPv6NetworkAsOne(t *testing.T) {
	for addr, want := range map[string]string{
		"198.51.100.7": "198.51.100.7", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64",
	} {
		if got := limitKey(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestOrigins(t *testing.T) {
	e := newEdge(t, func(c *Config) { c.Origins = []string{"https://chat.example.com"} })
	for origin, want := range map[string]bool{
		"https://chat.example.com": true, "http://chat.example.com": false, "https://chat.example.com:444": false,
		"https://evil-chat.example.com": false, "https://chat.example.com.evil.com": false, "null": false, "": false,
	} {
		if got := e.router.OriginAllowed(origin, nil); got != want {
			t.Errorf("%q: %v", origin, got)
		}
		w := e.call("GET", "/api/v1/notes", "", "Origin", origin)
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%q is answered with %s", origin, name)
			}
		}
	}
}

func TestAcceptedAtOutsideAListener(t *testing.T) {
	if at := AcceptedAt(t.Context()); at != (time.Time{}) || ClientAddress(t.Context()) != "" || Refusal(t.Context()) != nil {
		t.Error("a context outside a request says something about one")
	}
}
