package e2e

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fields is the set of names of an object.
func fields(v any) []string {
	m, _ := v.(map[string]any)
	var names []string
	for k := range m {
		names = append(names, k)
	}
	return names
}

func wantFields(t *testing.T, what string, v any, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, fields(v), cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("%s has other fields (-want +got):\n%s", what, diff)
	}
}

// TestWorkedExample follows the worked example of the protocol to the letter.
func TestWorkedExample(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	reg := person{n: n}.call("POST", "auth/register", `{"username":"alice","password":"correct horse battery","display_name":"Alice","device_id":"laptop"}`).want(t, 201)
	wantFields(t, "register", reg.body, "user", "session_id", "device_id", "access_token", "expires_in", "refresh_token")
	wantFields(t, "user", reg.value("user"), "id", "username", "display_name")
	if reg.number("expires_in") != 300 || reg.text("device_id") != "laptop" || reg.text("user", "display_name") != "Alice" {
		t.Errorf("register: %s", reg.raw)
	}
	alice, bob := n.person(reg), n.register("bob")

	made := alice.call("POST", "conversations", map[string]any{"kind": "direct", "member_ids": []string{bob.id}}).want(t, 201)
	wantFields(t, "conversation", made.body, "id", "kind", "members", "last_seq", "read_seq", "created_at")
	again := bob.call("POST", "conversations", map[string]any{"kind": "direct", "member_ids": []string{alice.id}}).want(t, 200)
	if made.text("id") != again.text("id") {
		t.Error("the direct conversation of two people is one")
	}
	k := made.text("id")

	sent := alice.send(k, "c-1", "hi").want(t, 201)
	wantFields(t, "message", sent.body, "id", "conversation_id", "seq", "sender_id", "device_id", "client_msg_id", "body", "version", "created_at")
	repeat := alice.send(k, "c-1", "hi").want(t, 200)
	if string(sent.raw) != string(repeat.raw) {
		t.Errorf("a repeat answers the same: %s and %s", sent.raw, repeat.raw)
	}
	if c := alice.send(k, "c-1", "other").want(t, 409).text("code"); c != "idempotency_conflict" {
		t.Errorf("another body under the same identifier: %s", c)
	}

	s, welcome, missed := bob.connect()
	wantFields(t, "welcome", welcome, "op", "id", "cid", "session_id", "user_id", "device_id", "epoch", "heartbeat_ms", "limits")
	if len(missed) != 0 {
		t.Errorf("a device that never acknowledged anything starts with what comes now, got %v", missed)
	}
	mine, _, _ := alice.connect()
	mine.write(`{"op":"send","id":"2","cid":"test-123","conversation_id":"` + k + `","client_msg_id":"c-2","body":"hello"}`)
	f := mine.after(1)
	wantFields(t, "sent", f, "op", "id", "cid", "conversation_id", "message_id", "seq", "ts")
	if f["op"] != "sent" || f["id"] != "2" || f["cid"] != "test-123" || f["seq"] != 2.0 {
		t.Errorf("sent: %v", f)
	}
	got := s.after(1)
	wantFields(t, "message event", got, "op", "cid", "message")
	message := got["message"].(map[string]any)
	wantFields(t, "message", message, "id", "conversation_id", "seq", "sender_id", "device_id", "client_msg_id", "body", "version", "created_at")
	if got["cid"] != "test-123" || message["body"] != "hello" || message["id"] != f["message_id"] || message["created_at"] != f["ts"] {
		t.Errorf("message %v, sent %v", got, f)
	}
	mine.write(`{"op":"send","id":"3","conversation_id":"` + k + `","client_msg_id":"c-2","body":"hello"}`)
	if r := mine.read(); r["message_id"] != f["message_id"] || r["seq"] != f["seq"] || r["ts"] != f["ts"] {
		t.Errorf("a repeat answers the same sent: %v", r)
	}
	s.write(`{"op":"ack","conversation_id":"` + k + `","seq":2}`)
	receipt := mine.until("receipt")
	delete(receipt, "cid")
	want := map[string]any{"op": "receipt", "kind": "delivered", "conversation_id": k, "user_id": bob.id, "device_id": "laptop", "seq": 2.0}
	if diff := cmp.Diff(want, receipt); diff != "" {
		t.Error(diff)
	}

	page := bob.call("GET", "conversations/"+k+"/messages?after_seq=0&limit=50", nil).want(t, 200)
	items := page.value("items").([]any)
	if len(items) != 2 || page.value("next_cursor") != nil {
		t.Errorf("history: %s", page.raw)
	}
	rest, _ := json.Marshal(items[1])
	live, _ := json.Marshal(message)
	if string(rest) != string(live) {
		t.Errorf("REST and the socket differ: %s and %s", rest, live)
	}
	feed := bob.call("GET", "messages", nil).want(t, 200)
	wantFields(t, "feed", feed.body, "items", "next_cursor", "has_more")
	alice.send(k, "c-3", "more").want(t, 201)
	later := bob.call("GET", "messages?cursor="+feed.text("next_cursor"), nil).want(t, 200)
	if l := later.value("items").([]any); len(l) != 1 || l[0].(map[string]any)["body"] != "more" {
		t.Errorf("feed goes on with: %s", later.raw)
	}
}
