package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
)

func TestLogoutIsInForceWhenItIsAnswered(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	var told []string
	r.revoked.OnRevoke(func(s string) { told = append(told, s) })
	r.want(204, "", "POST", "auth/logout", a.text("access_token"), nil)
	if r.alive(a.text("access_token")) || len(told) != 1 || told[0] != a.text("session_id") {
		t.Errorf("told %q", told)
	}
	out := r.poll(0, 0)
	if len(out.GetItems()) != 1 || out.GetItems()[0].GetSessionId() != a.text("session_id") || out.GetLast() != 1 {
		t.Fatalf("the log holds %v", out)
	}
	if until := time.UnixMilli(out.GetItems()[0].GetUntilMs()); time.Until(until) < 5*time.Minute {
		t.Errorf("forgotten at %v, before the access proof ends", until)
	}
}

func (r *rig) poll(after, waitMS int64, opts ...grpc.CallOption) *authpb.RevocationsResponse {
	r.t.Helper()
	out, err := r.client.Revocations(r.t.Context(), &authpb.RevocationsRequest{After: after, WaitMs: waitMS}, opts...)
	r.must(err)
	return out
}

func TestLongPollWakesAtTheCommit(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	got := make(chan *authpb.RevocationsResponse, 1)
	go func() { got <- r.poll(0, 60_000) }()
	r.want(204, "", "POST", "auth/logout", a.text("access_token"), nil)
	out := <-got
	if len(out.GetItems()) != 1 || out.GetLast() != 1 {
		t.Errorf("got %v", out)
	}
	if again := r.poll(out.GetLast(), 1); len(again.GetItems()) != 0 || again.GetLast() != 1 {
		t.Errorf("after the last: %v", again)
	}
}

func TestTheBellRingsAtTheCommit(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	rung, alive := r.svc.news.wait()
	r.want(204, "", "POST", "auth/logout", a.text("access_token"), nil)
	select {
	case <-rung:
	default:
		t.Error("the commit woke nobody")
	}
	r.svc.news.stop()
	if _, still := r.svc.news.wait(); !alive || still {
		t.Error("want the bell alive until it is stopped")
	}
	if out := r.poll(1, 60_000); len(out.GetItems()) != 0 { // must not wait
		t.Errorf("got %v", out)
	}
}

func TestLongPollSeesOtherNodes(t *testing.T) {
	onBothEngines(t, cheap(), func(t *testing.T, r, other *rig) {
		a := other.register("alice", "laptop")
		got := make(chan *authpb.RevocationsResponse, 1)
		go func() { got <- r.poll(0, 60_000) }()
		other.want(204, "", "POST", "auth/logout", a.text("access_token"), nil)
		if out := <-got; len(out.GetItems()) != 1 {
			t.Errorf("got %v", out)
		}
	})
}

func TestPositionsAreDense(t *testing.T) {
	r := newRig(t, cheap())
	for range 5 {
		r.login(r.registered("bob"), "phone")
	}
	out := r.poll(0, 0)
	for i, item := range out.GetItems() {
		if item.GetPos() != int64(i+1) {
			t.Errorf("position %d at place %d", item.GetPos(), i+1)
		}
	}
	if len(out.GetItems()) == 0 || out.GetLast() != int64(len(out.GetItems())) {
		t.Errorf("last %d of %d", out.GetLast(), len(out.GetItems()))
	}
}

// registered makes the account unless it is there.
func (r *rig) registered(name string) string {
	if a := r.call("POST", "auth/register", "", try(name, password, "laptop")); a.status != 201 && a.status != 409 {
		r.t.Fatal(a.raw)
	}
	return name
}

func TestSessionsListAndEnd(t *testing.T) {
	r := newRig(t, cheap())
	laptop := r.register("alice", "laptop")
	phone, tablet := r.login("alice", "phone"), r.login("alice", "tablet")
	mallory := r.register("mallory", "laptop").text("access_token")
	me := laptop.text("access_token")

	list := r.want(200, "", "GET", "auth/sessions", me, nil)
	items, _ := list.json["items"].([]any)
	current := 0
	for _, it := range items {
		if m, _ := it.(map[string]any); m["current"] == true && m["device_id"] == "laptop" {
			current++
		}
	}
	if cursor, there := list.json["next_cursor"]; len(items) != 3 || current != 1 || !there || cursor != nil {
		t.Errorf("list %s", list.raw)
	}

	r.want(404, "not_found", "DELETE", "auth/sessions/"+phone.text("session_id"), mallory, nil)
	r.want(404, "not_found", "DELETE", "auth/sessions/"+id.New(), me, nil)
	for _, bad := range []string{"x", "-1", "9223372036854775808", "%2e%2e", strings.Repeat("A", 8<<10), "%00"} {
		a := r.call("DELETE", "auth/sessions/"+bad, me, nil)
		if a.status != 400 && a.status != 404 {
			t.Errorf("%.20q: %d", bad, a.status)
		}
	}
	if !r.alive(phone.text("access_token")) {
		t.Error("somebody else ended the session")
	}
	r.want(204, "", "DELETE", "auth/sessions/"+phone.text("session_id"), me, nil)
	r.want(404, "not_found", "DELETE", "auth/sessions/"+phone.text("session_id"), me, nil)
	if r.alive(phone.text("access_token")) || !r.alive(me) {
		t.Error("want exactly the named session ended")
	}
	r.want(204, "", "DELETE", "auth/sessions", me, nil)
	if r.alive(tablet.text("access_token")) || !r.alive(me) || !r.alive(mallory) {
		t.Error("want all others of the account ended, and nothing else")
	}
}

func TestRoutesWantAnIdentity(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	for _, route := range []string{
		"POST auth/logout", "GET auth/sessions", "DELETE auth/sessions", "DELETE auth/sessions/" + a.text("session_id"),
		"POST auth/ticket", "POST auth/password",
	} {
		method, path, _ := strings.Cut(route, " ")
		for _, bearer := range []string{"", "x", a.text("refresh_token"), a.text("access_token") + "x"} {
			r.want(401, "unauthenticated", method, path, bearer, nil)
		}
	}
	if r.count(`SELECT COUNT(*) FROM sessions`) != 1 {
		t.Error("something was ended")
	}
}

func TestSessionCap(t *testing.T) {
	r := newRig(t, cheap())
	first := r.register("alice", "device-0")
	for i := 1; i < maxSessions+5; i++ {
		r.login("alice", fmt.Sprintf("device-%d", i))
	}
	if n := r.count(`SELECT COUNT(*) FROM sessions`); n != maxSessions {
		t.Errorf("%d sessions, want %d", n, maxSessions)
	}
	if r.alive(first.text("access_token")) || len(r.poll(0, 0).GetItems()) != 5 {
		t.Error("want the five oldest ended and revoked")
	}
}

func TestTicketWorksOnce(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	give := func() string {
		b := r.want(200, "", "POST", "auth/ticket", a.text("access_token"), nil)
		if b.json["expires_in"] != 30.0 || !strings.Contains(b.text("ticket"), "~") {
			t.Errorf("answer %s", b.raw)
		}
		return b.text("ticket")
	}
	redeem := func(ticket string) (*authpb.RedeemTicketResponse, error) {
		return r.client.RedeemTicket(t.Context(), &authpb.RedeemTicketRequest{Ticket: ticket})
	}
	one := give()
	got, err := redeem(one)
	if err != nil || got.GetSessionId() != a.text("session_id") || got.GetDeviceId() != "laptop" || !id.Valid(got.GetUserId()) {
		t.Fatalf("%v, %v", got, err)
	}
	if d := time.Until(time.UnixMilli(got.GetExpiresMs())); d < 29*24*time.Hour {
		t.Errorf("the session is said to end in %v", d)
	}
	old, orphan := give(), give()
	r.exec(`UPDATE tickets SET expires_ms = 1 WHERE hash <> $1`, digest(obs.NewSecret(orphan)))
	for name, ticket := range map[string]string{"used": one, "old": old, "unknown": "t~x", "none": ""} {
		if _, err := redeem(ticket); !fault.Is(err, fault.CodeUnauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.want(204, "", "POST", "auth/logout", a.text("access_token"), nil)
	if _, err := redeem(orphan); !fault.Is(err, fault.CodeUnauthenticated) {
		t.Errorf("of an ended session: %v", err)
	}
	if n := r.series("identity_refusals_total")["ticket_unknown"]; n != 5 {
		t.Errorf("ticket_unknown = %v, want 5", n)
	}
}

func TestCheckSessionAndAccounts(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	user, _ := a.json["user"].(map[string]any)
	check := func(session string) bool {
		out, err := r.client.CheckSession(t.Context(), &authpb.CheckSessionRequest{SessionId: session})
		r.must(err)
		return out.GetLive()
	}
	if !check(a.text("session_id")) || check(id.New()) || check("x") {
		t.Error("want exactly the session that is there")
	}
	r.exec(`UPDATE sessions SET used_ms = 1`)
	if check(a.text("session_id")) {
		t.Error("an idle session lives")
	}
	uid, _ := user["id"].(string)
	out, err := r.client.Accounts(t.Context(), &authpb.AccountsRequest{Ids: []string{uid, uid, id.New(), "", "x"}})
	r.must(err)
	if len(out.GetAccounts()) != 1 || out.GetAccounts()[0].GetUsername() != "alice" || out.GetAccounts()[0].GetCreatedMs() == 0 {
		t.Errorf("accounts %v", out.GetAccounts())
	}
	many := make([]string, maxAccountsAsk+1)
	for i := range many {
		many[i] = id.New()
	}
	if _, err := r.client.Accounts(t.Context(), &authpb.AccountsRequest{Ids: many}); !fault.Is(err, fault.CodeTooLong) {
		t.Errorf("too many: %v", err)
	}
}

func TestChangePassword(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	phone := r.login("alice", "phone")
	const next = "a new one, as long"
	me := a.text("access_token")
	r.want(401, "login_refused", "POST", "auth/password", me, map[string]any{"old": "not the right one", "new": next})
	r.want(422, "invalid", "POST", "auth/password", me, map[string]any{"old": password, "new": "short"})
	r.want(204, "", "POST", "auth/password", me, map[string]any{"old": password, "new": next})
	if r.alive(phone.text("access_token")) || !r.alive(me) || r.refresh(phone.text("refresh_token")).status != 401 {
		t.Error("want the other sessions ended and this one alive")
	}
	r.want(401, "login_refused", "POST", "auth/login", "", try("alice", password, ""))
	r.want(200, "", "POST", "auth/login", "", try("alice", next, ""))
	if got := r.series("login_failures_total")["wrong_password"]; got != 2 {
		t.Errorf("wrong_password = %v, want 2", got)
	}
}

func TestPruneRemovesWhatIsPastAndRevokesIt(t *testing.T) {
	r := newRig(t, cheap())
	a := r.register("alice", "laptop")
	r.login("alice", "phone")
	r.want(200, "", "POST", "auth/ticket", a.text("access_token"), nil)
	r.lock("nobody")
	r.exec(`UPDATE tickets SET expires_ms = 1`)
	r.exec(`UPDATE login_failures SET forget_ms = 1`)
	r.exec(`UPDATE sessions SET used_ms = 1 WHERE device_id = 'laptop'`)
	r.must(r.db.Write(t.Context(), "test.prune", r.svc.prune))
	if r.count(`SELECT COUNT(*) FROM tickets`)+r.count(`SELECT COUNT(*) FROM login_failures`) != 0 || r.count(`SELECT COUNT(*) FROM sessions`) != 1 {
		t.Error("something past is left, or something else gone")
	}
	out := r.poll(0, 0)
	if len(out.GetItems()) != 1 || out.GetItems()[0].GetSessionId() != a.text("session_id") {
		t.Fatalf("revoked: %v", out)
	}
	r.exec(`UPDATE revocations SET until_ms = 1`)
	r.must(r.db.Write(t.Context(), "test.prune", r.svc.prune))
	if out := r.poll(0, 0); r.count(`SELECT COUNT(*) FROM revocations`) != 0 || out.GetLast() != 1 {
		t.Errorf("past revocations are left, or the position went back: %v", out)
	}
}
