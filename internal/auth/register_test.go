package auth

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/id"
)

func TestRegisterAnswersAsDocumented(t *testing.T) {
	r := newRig(t, cheap())
	a := r.want(201, "", "POST", "auth/register", "", `{"username":"Alice","password":"correct horse battery","display_name":"Alice L","device_id":"laptop"}`)
	want := []string{"access_token", "device_id", "expires_in", "refresh_token", "session_id", "user"}
	if got := slices.Sorted(maps.Keys(a.json)); !slices.Equal(got, want) {
		t.Errorf("fields %v, want %v", got, want)
	}
	user, _ := a.json["user"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"id": user["id"], "username": "alice", "display_name": "Alice L"}, user); diff != "" {
		t.Error(diff)
	}
	if a.text("device_id") != "laptop" || a.json["expires_in"] != 300.0 || !id.Valid(a.text("session_id")) {
		t.Errorf("answer %s", a.raw)
	}
	if !strings.Contains(a.text("refresh_token"), "~") {
		t.Error("a proof without a tilde could pass as a correlation ID")
	}
	if !r.alive(a.text("access_token")) {
		t.Error("the access proof is not accepted")
	}
}

func TestRegisterFillsIn(t *testing.T) {
	r := newRig(t, cheap())
	a := r.want(201, "", "POST", "auth/register", "", `{"username":"bob","password":"correct horse battery"}`)
	user, _ := a.json["user"].(map[string]any)
	if user["display_name"] != "bob" || a.text("device_id") == "" {
		t.Errorf("answer %s", a.raw)
	}
}

func TestRegisterPublishesWithTheCorrelation(t *testing.T) {
	r := newRig(t, cheap())
	req := httptest.NewRequest("POST", "/api/v1/auth/register", strings.NewReader(`{"username":"carol","password":"correct horse battery"}`))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Correlation-ID", "test-123")
	if a := r.send(req); a.status != 201 {
		t.Fatal(a.raw)
	}
	e := <-r.events
	if e.Type != "user.registered" || e.Correlation != "test-123" {
		t.Fatalf("event %+v", e)
	}
	var payload map[string]string
	r.must(json.Unmarshal(e.Payload, &payload))
	if payload["user_id"] != e.Key || payload["username"] != "carol" || payload["display_name"] != "carol" {
		t.Errorf("payload %v", payload)
	}
	if _, err := time.Parse(time.RFC3339, payload["created_at"]); err != nil {
		t.Error(err)
	}
}

func TestRegisterRefusals(t *testing.T) {
	r := newRig(t, cheap())
	r.register("taken", "d")
	long := strings.Repeat("x", 257)
	for _, c := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"taken", `{"username":"TAKEN","password":"correct horse battery"}`, 409, "username_taken"},
		{"short name", `{"username":"ab","password":"correct horse battery"}`, 422, "invalid"},
		{"long name", `{"username":"` + long + `","password":"correct horse battery"}`, 422, "too_long"},
		{"name with a space", `{"username":"a b c","password":"correct horse battery"}`, 422, "invalid"},
		{"name of other letters", `{"username":"аlice","password":"correct horse battery"}`, 422, "invalid"},
		{"name with a line break", `{"username":"al\r\nice","password":"correct horse battery"}`, 422, "invalid"},
		{"empty proof", `{"username":"dave","password":""}`, 422, "invalid"},
		{"7 bytes", `{"username":"dave","password":"1234567"}`, 422, "invalid"},
		{"9 bytes", `{"username":"dave","password":"123456789"}`, 422, "invalid"},
		{"257 bytes", `{"username":"dave","password":"` + long + `"}`, 422, "too_long"},
		{"display name with a control", `{"username":"dave","password":"correct horse battery","display_name":"a\u0007b"}`, 422, "invalid"},
		{"display name that turns round", `{"username":"dave","password":"correct horse battery","display_name":"a\u202eb"}`, 422, "invalid"},
		{"display name that nobody sees", `{"username":"dave","password":"correct horse battery","display_name":"\u200b\u200b"}`, 422, "invalid"},
		{"empty display name", `{"username":"dave","password":"correct horse battery","display_name":""}`, 422, "invalid"},
		{"65 runes", `{"username":"dave","password":"correct horse battery","display_name":"` + strings.Repeat("ä", 65) + `"}`, 422, "too_long"},
		{"device with a slash", `{"username":"dave","password":"correct horse battery","device_id":"../x"}`, 422, "invalid"},
		{"long device", `{"username":"dave","password":"correct horse battery","device_id":"` + long + `"}`, 422, "too_long"},
		{"role", `{"username":"dave","password":"correct horse battery","role":"admin"}`, 400, "unknown_field"},
		{"id", `{"username":"dave","password":"correct horse battery","user_id":"X"}`, 400, "unknown_field"},
		{"other case", `{"Username":"dave","password":"correct horse battery"}`, 400, "unknown_field"},
		{"twice", `{"username":"dave","username":"eve1","password":"correct horse battery"}`, 400, "bad_request"},
		{"a list", `[]`, 400, "bad_request"},
		{"null", `null`, 400, "bad_request"},
		{"nothing", ``, 400, "bad_request"},
		{"a number", `{"username":1,"password":"correct horse battery"}`, 400, "bad_request"},
		{"trailing data", `{"username":"dave","password":"correct horse battery"}{}`, 400, "bad_request"},
		{"bad UTF-8", "{\"username\":\"da\xffve\",\"password\":\"correct horse battery\"}", 400, "bad_request"},
		{"too large", `{"username":"` + strings.Repeat("x", 70<<10) + `"}`, 413, "too_large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.call("POST", "auth/register", "", c.body)
			if a.status != c.status || a.text("code") != c.code {
				t.Errorf("%d %s, want %d %s", a.status, a.raw, c.status, c.code)
			}
			if strings.Contains(a.raw, "correct horse") {
				t.Errorf("the answer repeats what was typed: %s", a.raw)
			}
		})
	}
	if n := r.count(`SELECT COUNT(*) FROM accounts`); n != 1 {
		t.Errorf("%d accounts, want 1: a refusal wrote something", n)
	}
}

func TestRefusalNamesEveryField(t *testing.T) {
	r := newRig(t, cheap())
	a := r.want(422, "invalid", "POST", "auth/register", "", `{"username":"a","password":"short","device_id":"/"}`)
	fields, _ := a.json["errors"].([]any)
	if len(fields) != 3 {
		t.Errorf("errors %s, want three", a.raw)
	}
}

func TestFiftyAtOnceForOneName(t *testing.T) {
	r := newRig(t, cheap())
	status := make([]int, 50)
	codes := make([]string, 50)
	var wg sync.WaitGroup
	for i := range status {
		wg.Go(func() {
			a := r.call("POST", "auth/register", "", map[string]any{"username": "wanted", "password": password})
			status[i], codes[i] = a.status, a.text("code")
		})
	}
	wg.Wait()
	won := 0
	for i := range status {
		if status[i] == 201 {
			won++
		} else if status[i] != 409 || codes[i] != "username_taken" {
			t.Errorf("%d %s", status[i], codes[i])
		}
	}
	if won != 1 || r.count(`SELECT COUNT(*) FROM sessions`) != 1 || r.count(`SELECT taken FROM positions`) != 1 {
		t.Errorf("%d won, want one with one session and one event", won)
	}
}

func TestSlotsRefuseWhenTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(HashConfig{MemoryKiB: 8, Passes: 1, Slots: 1, Queue: 1, Wait: 2 * time.Second})
		release := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { _ = h.run(t.Context(), func() { <-release }) })
		synctest.Wait()
		begin := time.Now()
		var waited error
		wg.Go(func() { waited = h.run(t.Context(), func() {}) })
		synctest.Wait()
		if err := h.run(t.Context(), func() {}); err == nil || time.Since(begin) != 0 {
			t.Errorf("with a full queue: %v after %v, want an immediate refusal", err, time.Since(begin))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if waited == nil || h.inFlight() != 1 {
			t.Errorf("after the wait: %v, %v held", waited, h.inFlight())
		}
		close(release)
		wg.Wait()
		if h.inFlight() != 0 {
			t.Errorf("%v held at the end", h.inFlight())
		}
	})
}
