package load

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestUUID(t *testing.T) {
	seen := map[uuid]bool{}
	var last string
	for range 1000 {
		u := newUUID()
		s := u.String()
		back, ok := parseUUID([]byte(s))
		if !ok || back != u || len(s) != 36 || s[14] != '7' || !strings.ContainsRune("89ab", rune(s[19])) {
			t.Fatalf("%q is no UUIDv7", s)
		}
		if seen[u] || s[:13] < last {
			t.Fatalf("%q repeats or goes back in time", s)
		}
		seen[u], last = true, s[:13]
	}
	for _, bad := range []string{"", "c-1", strings.Repeat("0", 36), strings.ToUpper(newUUID().String()) + "", "zzzzzzzz-0000-7000-8000-000000000000"} {
		if _, ok := parseUUID([]byte(bad)); ok && strings.ToLower(bad) != bad {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestFramesAreReadByKey(t *testing.T) {
	c := newConversation("01K", 0, []byte(`..`))
	c.join(0)
	m := c.make(c.inboxes[0], time.Time{})
	hostile := `"seq":99,"client_msg_id":"x"` // as content it has backslashes, and is not taken for keys
	name, _ := json.Marshal(hostile)
	frame := []byte(`{"op":"message","cid":` + string(name) + `,"message":{"id":"M","conversation_id":"01K","seq":12,"sender_id":"U","device_id":"d","client_msg_id":"` +
		m.id.String() + `","body":"` + string(m.body(nil)) + `","version":1}}`)
	e, ok := readEvent(frame)
	if !ok || string(op(frame)) != "message" || string(e.conversation) != "01K" || e.seq != 12 ||
		string(e.clientID) != m.id.String() || string(e.body) != string(m.body(nil)) {
		t.Errorf("read %q %q %d %q", e.conversation, e.clientID, e.seq, e.body)
	}
	for _, bad := range []string{"", "{}", `{"op":"message"}`, `{"op":"message","message":{}}`, `{"op":"message","message":{"seq":1`, `{"op":"mes`} {
		if _, ok := readEvent([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
		_ = op([]byte(bad))
	}
}

func TestFramesAreJSON(t *testing.T) {
	c := newConversation("01K", 0, []byte(`..`))
	m := c.make(c.join(0), time.Time{})
	var send struct {
		Op, ID         string
		ConversationID string `json:"conversation_id"`
		ClientMsgID    string `json:"client_msg_id"`
		Body           string
	}
	if err := json.Unmarshal(appendSend(nil, m), &send); err != nil {
		t.Fatal(err)
	}
	if send.Op != "send" || send.ID != "1" || send.ConversationID != "01K" || send.ClientMsgID != m.id.String() || send.Body != m.id.String()+".." {
		t.Errorf("send frame %+v", send)
	}
	if got := string(appendAck(nil, "01K", 7)); got != `{"op":"ack","conversation_id":"01K","seq":7}` {
		t.Errorf("ack frame %s", got)
	}
}

func TestNumber(t *testing.T) {
	for frame, want := range map[string]int64{`{"seq":12}`: 12, `{"seq":}`: 0, `{}`: 0, `{"seq":-5}`: 0, `{"seq":99999999999999999999}`: 1<<63 - 1} {
		if got := number([]byte(frame), keySeq); got != want {
			t.Errorf("number(%s) = %d, want %d", frame, got, want)
		}
	}
}
