package user

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/user/userpb"
)

func TestProfileByEvent(t *testing.T) {
	r := newRig(t)
	a := r.registered("alice", "Alice L")
	got := r.want(200, "", a, "GET", "/me", "")
	if want := []string{"created_at", "display_name", "id", "username"}; !slices.Equal(slices.Sorted(maps.Keys(got.json)), want) {
		t.Errorf("fields of %s, want %v", got.raw, want)
	}
	if got.text("id") != a.GetId() || got.text("username") != "alice" || got.text("display_name") != "Alice L" {
		t.Errorf("profile %s", got.raw)
	}
	if at, err := time.Parse("2006-01-02T15:04:05.000Z", got.text("created_at")); err != nil || at.UnixMilli() != a.GetCreatedMs() {
		t.Errorf("created_at %q, %v", got.text("created_at"), err)
	}
	if r.auth.asked != 0 {
		t.Error("auth was asked although the event was there")
	}
}

func TestProfileOnFirstRead(t *testing.T) {
	r := newRig(t)
	a, b := r.account("alice", "Alice"), r.account("bob", "Bob")
	r.want(200, "", a, "GET", "/me", "")
	got := r.want(200, "", a, "GET", "/"+b.GetId(), "")
	if got.text("username") != "bob" {
		t.Errorf("profile %s", got.raw)
	}
	r.svc.cache.drop(b.GetId())
	r.want(200, "", a, "GET", "/"+b.GetId(), "")
	if r.auth.asked != 2 {
		t.Errorf("auth was asked %d times, want once for each", r.auth.asked)
	}
	r.must(r.publish(event(a), event(b))) // late, and no harm
	r.want(200, "", a, "GET", "/"+b.GetId(), "")
}

func TestEventTwiceAndAfterARename(t *testing.T) {
	r := newRig(t)
	a := r.account("alice", "Alice")
	r.want(200, "", a, "PATCH", "/me", `{"display_name":"Queen"}`)
	e := event(a)
	r.must(r.publish(e))
	r.must(r.publish(e, event(a)))
	r.svc.cache.drop(a.GetId())
	if got := r.want(200, "", a, "GET", "/me", ""); got.text("display_name") != "Queen" {
		t.Errorf("the event undid the rename: %s", got.raw)
	}
}

func TestMalformedEventIsSetAside(t *testing.T) {
	r := newRig(t)
	a := r.account("alice", "Alice")
	for _, payload := range []string{"", "null", "[]", `{"user_id":"x"}`, `{"user_id":1}`, `{"user_id":"` + id.New() + `"}`} {
		e := bus.Envelope{ID: id.New(), Type: eventRegistered, Key: "k", Pos: 1, At: time.Now(), Correlation: "c", Payload: []byte(payload)}
		r.must(r.publish(e))
	}
	r.must(r.publish(event(a))) // it does not stop what follows
	if got := r.want(200, "", a, "GET", "?q=alice", ""); len(got.names()) != 1 {
		t.Errorf("found %s", got.raw)
	}
}

func TestUnknownAndMalformedUsers(t *testing.T) {
	r := newRig(t)
	a := r.registered("alice", "Alice")
	r.want(404, "not_found", a, "GET", "/"+id.New(), "")
	r.want(404, "not_found", r.withoutAccount(), "GET", "/me", "")
	for _, bad := range []string{"x", "-1", "1.5", "9223372036854775808", "%2e%2e", "%00", strings.Repeat("A", 8<<10), strings.ToLower(a.GetId())} {
		if got := r.call(a, "GET", "/"+bad, ""); got.status != 400 && got.status != 404 {
			t.Errorf("%.20q: %d %s", bad, got.status, got.raw)
		}
	}
	for _, path := range []string{"/me", "/" + a.GetId(), "?q=a"} {
		r.want(401, "unauthenticated", nil, "GET", path, "")
	}
	r.want(401, "unauthenticated", nil, "PATCH", "/me", `{"display_name":"x"}`)
}

// withoutAccount is somebody whose identity verifies and whose account is gone.
func (r *rig) withoutAccount() *authpb.Account { return &authpb.Account{Id: id.New()} }

func TestAuthAway(t *testing.T) {
	r := newRig(t)
	a, late := r.registered("alice", "Alice"), r.account("late", "Late")
	r.auth.down = true
	r.want(200, "", a, "GET", "/me", "")
	r.want(503, "unavailable", a, "GET", "/"+late.GetId(), "")
	r.auth.down = false
	r.want(200, "", a, "GET", "/"+late.GetId(), "")
}

func TestRename(t *testing.T) {
	r := newRig(t)
	a, b := r.registered("alice", "Alice"), r.registered("bob", "Bob")
	r.want(200, "", b, "GET", "/"+a.GetId(), "") // so that it is cached
	const name = "<script> {{7*7}} =cmd() 👩‍👩‍👧 é"
	if got := r.want(200, "", a, "PATCH", "/me", `{"display_name":"`+name+`"}`); got.text("display_name") != name {
		t.Errorf("answer %s", got.raw)
	}
	if got := r.want(200, "", b, "GET", "/"+a.GetId(), ""); got.text("display_name") != name || got.text("username") != "alice" {
		t.Errorf("others see %s", got.raw)
	}
	if e := <-r.events; e.Type != eventRenamed || e.Key != a.GetId() || !strings.Contains(string(e.Payload), `"user_id":"`+a.GetId()) {
		t.Errorf("event %+v", e)
	}
	if got := r.want(200, "", a, "PATCH", "/me", `{}`); got.text("display_name") != name {
		t.Errorf("an empty change answers %s", got.raw)
	}
	for body, code := range map[string]string{
		`{"display_name":""}`: "invalid", `{"display_name":"a\u0007"}`: "invalid", `{"display_name":"\u202ea"}`: "invalid",
		`{"display_name":"\u200b"}`: "invalid", `{"display_name":"` + strings.Repeat("ß", 65) + `"}`: "too_long",
	} {
		r.want(422, code, a, "PATCH", "/me", body)
	}
	for body, code := range map[string]string{
		`{"username":"eve"}`: "unknown_field", `{"id":"x"}`: "unknown_field", `{"role":"admin"}`: "unknown_field",
		`{"display_name":1}`: "bad_request", `[]`: "bad_request", `null`: "bad_request", ``: "bad_request",
		`{"display_name":"a","display_name":"b"}`: "bad_request",
	} {
		r.want(400, code, a, "PATCH", "/me", body)
	}
	if got := r.want(200, "", b, "GET", "/"+a.GetId(), ""); got.text("display_name") != name {
		t.Errorf("a refusal changed something: %s", got.raw)
	}
}

func TestProfilesCall(t *testing.T) {
	r := newRig(t)
	a, b := r.registered("alice", "Alice"), r.account("bob", "Bob")
	out, err := r.client.Profiles(t.Context(), &userpb.ProfilesRequest{Ids: []string{a.GetId(), b.GetId(), a.GetId(), id.New(), "", "x"}})
	r.must(err)
	var names []string
	for _, p := range out.GetProfiles() {
		names = append(names, p.GetUsername()+" "+p.GetDisplayName())
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"alice Alice", "bob Bob"}) {
		t.Errorf("profiles %v", names)
	}
	if _, err := r.client.Profiles(t.Context(), &userpb.ProfilesRequest{Ids: manyIDs(maxAsk + 1)}); err == nil {
		t.Error("too many were accepted")
	}
}

func manyIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = id.New()
	}
	return ids
}

func TestCacheStartsAnewWhenFull(t *testing.T) {
	r := newRig(t)
	c := r.svc.cache
	for _, one := range manyIDs(cacheRoom + 1) {
		c.put([]profile{{id: one}}, 0)
	}
	if len(c.known) != 1 {
		t.Errorf("%d entries, want the one that came after the room was used up", len(c.known))
	}
}

func TestCacheKeepsNothingReadBeforeADrop(t *testing.T) {
	r := newRig(t)
	c := r.svc.cache
	_, _, mark := c.get([]string{"x"})
	c.drop("x")
	c.put([]profile{{id: "x"}}, mark)
	if found, _, _ := c.get([]string{"x"}); len(found) != 0 {
		t.Error("what was read before the change came back")
	}
}

func TestRegistrationIsLoggedWithItsCause(t *testing.T) {
	r := newRig(t)
	a := r.account("alice", "Alice")
	e := event(a)
	e.Correlation = "cause-of-" + obs.Correlation(a.GetId())
	r.must(r.publish(e))
	everything.mu.Lock()
	defer everything.mu.Unlock()
	if !strings.Contains(everything.buf.String(), string(e.Correlation)) {
		t.Error("no line of the user service names the registration")
	}
}
