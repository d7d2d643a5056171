package auth

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/web"
)

func try(name, secret, device string) map[string]any {
	m := map[string]any{"username": name, "password": secret}
	if device != "" {
		m["device_id"] = device
	}
	return m
}

// reasonsLogged lists the reasons of the lines with that op.
func (r *rig) logged(op, field string) (found []string) {
	for line := range strings.Lines(r.log.String()) {
		var l map[string]any
		r.must(json.Unmarshal([]byte(line), &l))
		if v, ok := l[field].(string); ok && l["op"] == op {
			found = append(found, v)
		}
	}
	return found
}

// TestEachReasonIsCountedAndLogged has one scenario per reason of a refused
// login: exactly that series grows, by one, and the log says the same.
func TestEachReasonIsCountedAndLogged(t *testing.T) {
	scenarios := map[obs.LoginReason]struct {
		prepare func(*rig)
		config  func(*Config)
		name    string
		status  int
		code    string
	}{
		obs.WrongPassword: {name: "alice", status: 401, code: "login_refused"},
		obs.UserNotFound:  {name: "nobody", status: 401, code: "login_refused"},
		obs.AccountLocked: {name: "alice", status: 429, code: "login_throttled", prepare: func(r *rig) { r.lock("alice") }},
		obs.AddressThrottled: {name: "alice", status: 429, code: "login_throttled", config: func(c *Config) {
			c.LoginsPerAddress = limit.Rate{PerSecond: 1e-3, Burst: 1}
		}, prepare: func(r *rig) { r.login("alice", "phone") }},
		obs.HashingBusy: {name: "alice", status: 503, code: "auth_busy", config: func(c *Config) {
			c.Hashing.Slots, c.Hashing.Wait = 1, time.Millisecond
		}, prepare: func(r *rig) { r.svc.hasher.slots <- struct{}{} }},
		obs.LoginUnknown: {name: "alice", status: 500, code: "internal", prepare: func(r *rig) { r.exec(`DROP TABLE login_failures`) }},
	}
	for reason := obs.LoginReason(0); reason.String() != ""; reason++ {
		t.Run(reason.String(), func(t *testing.T) {
			c, ok := scenarios[reason]
			if !ok {
				if reason != obs.TwoFactorFailed {
					t.Fatal("a reason without a scenario")
				}
				t.Skip("no second factor yet")
			}
			cfg := cheap()
			if c.config != nil {
				c.config(&cfg)
			}
			r := newRig(t, cfg)
			r.register("alice", "laptop")
			if c.prepare != nil {
				c.prepare(r)
			}
			before := r.series("login_failures_total")
			a := r.want(c.status, c.code, "POST", "auth/login", "", try(c.name, "not the right one", ""))
			before[reason.String()]++
			if diff := cmp.Diff(before, r.series("login_failures_total")); diff != "" {
				t.Error(diff)
			}
			if got := r.logged("auth.login", "reason"); len(got) != 1 || got[0] != obs.LogName(reason) {
				t.Errorf("logged reasons %q, want %q", got, obs.LogName(reason))
			}
			if strings.Contains(a.raw, reason.String()) || strings.Contains(r.log.String(), "nobody") {
				t.Errorf("the answer tells the reason, or the log what was typed: %s", a.raw)
			}
			if c.status == 429 && a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
}

// lock makes the next failure of a name block it, and commits that failure.
func (r *rig) lock(name string) {
	r.t.Helper()
	for range freeFailures {
		r.must(r.svc.countFailure(r.t.Context(), r.svc.nameMAC(name, "")))
	}
}

func TestUnknownAndWrongAreToldApartByNobody(t *testing.T) {
	r := newRig(t, cheap())
	r.register("alice", "laptop")
	answer := func(name string) (int, string, int) {
		a := r.call("POST", "auth/login", "", try(name, "not the right one", "laptop"))
		delete(a.json, "correlation_id")
		raw, err := json.Marshal(a.json)
		r.must(err)
		return a.status, string(raw), len(a.header)
	}
	for range freeFailures + 2 { // into the lockout and beyond
		s1, b1, h1 := answer("alice")
		s2, b2, h2 := answer("nobody")
		b1, b2 = withoutWait(b1), withoutWait(b2)
		if s1 != s2 || b1 != b2 || h1 != h2 {
			t.Errorf("known: %d %s %d, unknown: %d %s %d", s1, b1, h1, s2, b2, h2)
		}
	}
}

func withoutWait(body string) string {
	head, rest, ok := strings.Cut(body, `"retry_after_ms":`)
	if !ok {
		return body
	}
	return head + strings.TrimLeft(rest, "0123456789")
}

func TestLoginReplacesTheDevicesSession(t *testing.T) {
	r := newRig(t, cheap())
	first := r.register("alice", "laptop")
	other := r.login("alice", "phone")
	second := r.login("ALICE", "laptop")
	if r.alive(first.text("access_token")) || !r.alive(second.text("access_token")) || !r.alive(other.text("access_token")) {
		t.Error("want the device's first session ended, and no other")
	}
	if first.text("session_id") == second.text("session_id") {
		t.Error("the session kept its id")
	}
	if a := r.refresh(first.text("refresh_token")); a.status != 401 {
		t.Errorf("the ended session refreshed: %d", a.status)
	}
}

func TestLoginOfBadInput(t *testing.T) {
	r := newRig(t, cheap())
	r.register("alice", "laptop")
	for _, c := range []struct {
		body   any
		status int
		code   string
	}{
		{try("alice", "", ""), 422, "invalid"},
		{try("alice", strings.Repeat("x", 257), ""), 422, "too_long"},
		{try("alice", "short", ""), 401, "login_refused"}, // too short to be right, so wrong
		{try("", password, ""), 422, "invalid"},
		{try(strings.Repeat("x", 257), password, ""), 422, "too_long"},
		{try("al\x00ice", password, ""), 400, "bad_request"},
		{try("al\x01ice", password, ""), 401, "login_refused"},
		{try("' OR 1=1 --", password, ""), 401, "login_refused"},
		{try("alice", password, "a b"), 422, "invalid"},
		{`{"username":"alice","password":"correct horse battery","device_id":""}`, 422, "invalid"},
		{`{"username":"alice"}`, 422, "invalid"},
		{`{"username":null,"password":null}`, 400, "bad_request"},
		{`{"username":"alice","password":["correct horse battery"]}`, 400, "bad_request"},
	} {
		a := r.call("POST", "auth/login", "", c.body)
		if a.status != c.status || a.text("code") != c.code {
			t.Errorf("%v: %d %s, want %d %s", c.body, a.status, a.raw, c.status, c.code)
		}
	}
}

func TestKnownDeviceIsNotLockedOutByOthers(t *testing.T) {
	r := newRig(t, cheap())
	r.register("alice", "laptop")
	r.lock("alice")
	r.want(429, "login_throttled", "POST", "auth/login", "", try("alice", password, "thief"))
	r.want(429, "login_throttled", "POST", "auth/login", "", try("alice", password, ""))
	r.login("alice", "laptop")
	// Knowing the device's name does not open a way round: it has a count of its own.
	for range freeFailures {
		r.want(401, "login_refused", "POST", "auth/login", "", try("alice", "not the right one", "laptop"))
	}
	r.want(429, "login_throttled", "POST", "auth/login", "", try("alice", password, "laptop"))
}

func TestLockoutEndsAndGrowsAndIsForgotten(t *testing.T) {
	r := newRig(t, cheap())
	r.register("alice", "laptop")
	r.lock("alice")
	mac := r.svc.nameMAC("alice", "")
	remaining := func() time.Duration {
		n := r.count(`SELECT blocked_ms FROM login_failures WHERE name_mac = $1`, mac)
		return time.Until(time.UnixMilli(int64(n))).Round(10 * time.Second)
	}
	if d := remaining(); d != firstDelay {
		t.Errorf("the first delay is %v, want %v", d, firstDelay)
	}
	r.exec(`UPDATE login_failures SET blocked_ms = 0`)
	r.want(401, "login_refused", "POST", "auth/login", "", try("alice", "not the right one", ""))
	if d := remaining(); d != 2*firstDelay {
		t.Errorf("the second delay is %v, want %v", d, 2*firstDelay)
	}
	r.exec(`UPDATE login_failures SET blocked_ms = 0, forget_ms = 1`)
	r.want(401, "login_refused", "POST", "auth/login", "", try("alice", "not the right one", ""))
	if n := r.count(`SELECT failures FROM login_failures WHERE name_mac = $1`, mac); n != 1 {
		t.Errorf("%d failures after the window, want 1", n)
	}
	r.login("alice", "phone")
	if n := r.count(`SELECT COUNT(*) FROM login_failures`); n != 0 {
		t.Errorf("%d names with failures after a success", n)
	}
}

func TestLockoutSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	t.Run("before", func(t *testing.T) {
		r := newRigIn(t, dir, cheap())
		r.register("alice", "laptop")
		r.lock("alice")
	})
	r := newRigIn(t, dir, cheap())
	r.want(429, "login_throttled", "POST", "auth/login", "", try("alice", password, "phone"))
}

func TestDelayGrowsToItsMost(t *testing.T) {
	last := time.Duration(0)
	for n := range int64(100) {
		d := delay(n)
		if n < freeFailures && d != 0 || d < last || d > maxDelay {
			t.Errorf("delay(%d) = %v after %v", n, d, last)
		}
		last = d
	}
	if last != maxDelay {
		t.Errorf("the delay grows to %v, want %v", last, maxDelay)
	}
}

func TestPasswordChangedBetweenProofAndEntry(t *testing.T) {
	r := newRig(t, cheap())
	r.register("alice", "laptop")
	in := attempt{op: "auth.login", username: "alice", device: "phone", password: obs.NewSecret(password)}
	_, err := r.svc.prove(t.Context(), &in)
	r.must(err)
	r.exec(`UPDATE accounts SET verifier_rev = verifier_rev + 1`)
	if _, err := r.svc.enter(t.Context(), &in, false); !fault.Is(err, fault.CodeLoginRefused) || r.count(`SELECT COUNT(*) FROM sessions`) != 1 {
		t.Errorf("entry with the old proof: %v", err)
	}
}

func TestRehashWhenTheParametersRise(t *testing.T) {
	dir := t.TempDir()
	t.Run("before", func(t *testing.T) { newRigIn(t, dir, cheap()).register("alice", "laptop") })
	cfg := cheap()
	cfg.Hashing.MemoryKiB = 128
	r := newRigIn(t, dir, cfg)
	r.login("alice", "laptop")
	if n := r.count(`SELECT COUNT(*) FROM accounts WHERE verifier LIKE '$argon2id$v=19$m=128,t=1,p=1$%'`); n != 1 {
		t.Error("the verifier has the old parameters")
	}
	r.login("alice", "laptop")
}

func TestAddressRange(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "::ffff:192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "": "", "x": "x",
	} {
		if got := addressRange(in); got != want {
			t.Errorf("addressRange(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestManyLoginsAtOnceAreAllAnswered(t *testing.T) {
	cfg := cheap()
	cfg.Hashing.Slots, cfg.Hashing.Queue = 1, 8
	r := newRig(t, cfg)
	r.register("alice", "laptop")
	status := make([]int, 200)
	var wg sync.WaitGroup
	for i := range status {
		wg.Go(func() {
			secret := password
			if i%2 == 0 {
				secret = "not the right one"
			}
			status[i] = r.call("POST", "auth/login", "", try("alice", secret, fmt.Sprintf("d-%d", i))).status
		})
	}
	wg.Wait()
	for _, s := range status {
		if s != 200 && s != 401 && s != 429 && s != 503 {
			t.Errorf("a login answers %d", s)
		}
	}
	if r.svc.hasher.inFlight() != 0 || len(r.svc.hasher.slots) != 0 {
		t.Error("a slot was not given back")
	}
}

func TestRoutesForDocumentsAlone(t *testing.T) {
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	router := web.NewRouter(o, web.Config{Listener: "public"}, nil)
	Routes(router, nil)
	doc, err := router.OpenAPI()
	if err != nil || !strings.Contains(string(doc), "/api/v1/auth/register") || strings.Contains(string(doc), "created_ms") {
		t.Errorf("%v", err)
	}
}
