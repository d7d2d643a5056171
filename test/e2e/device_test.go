package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestTheFirstAcknowledgementCounts also when it names what came before the
// socket's first event.
func TestTheFirstAcknowledgementCounts(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	alice.send(k, "c-1", "one").want(t, 201)
	mine, _, _ := alice.connect()
	s, _, _ := bob.connect()
	s.write(`{"op":"send","id":"1","conversation_id":"` + k + `","client_msg_id":"b-1","body":"two"}`)
	s.until("sent")
	s.write(`{"op":"ack","conversation_id":"` + k + `","seq":1}`)
	if f := mine.until("receipt"); f["seq"] != 1.0 || f["user_id"] != bob.id {
		t.Errorf("got %v", f)
	}
	alice.send(k, "c-3", "three").want(t, 201)
	s.c.Drop()
	s, _, missed := bob.connect()
	wantSeqs(t, seqs(t, s.fill(missed, 3)), 2, 3)
}

// TestANewDeviceIsNotSentThePast: of conversations that are older than the
// device it gets what came after it, once it is known.
func TestANewDeviceIsNotSentThePast(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir()).pinned() // what comes now is where the socket's node is
	alice, bob, carol := n.register("alice"), n.register("bob"), n.register("carol")
	old, other := alice.direct(bob), carol.direct(bob)
	for i := range 5 {
		alice.send(old, fmt.Sprint("c-", i), "before").want(t, 201)
	}
	from, _, _ := carol.connect()
	s, _, _ := bob.connect()
	carol.send(other, "d-1", "hello").want(t, 201)
	s.until("message")
	s.write(`{"op":"ack","conversation_id":"` + other + `","seq":1}`)
	from.until("receipt")
	s.c.Drop()
	alice.send(old, "c-5", "after").want(t, 201)
	s, _, missed := bob.connect()
	wantSeqs(t, seqs(t, s.fill(missed, 6)), 6, 6)
}

// TestASessionEndsWhileItsSocketCatchesUp, however slowly its client reads.
func TestASessionEndsWhileItsSocketCatchesUp(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	_, welcome, _ := bob.connect()
	const all = 700
	body := strings.Repeat("x", 16<<10)
	for i := range all {
		alice.send(k, fmt.Sprint("c-", i), body).want(t, 201)
	}
	s := bob.dial()
	s.write(map[string]any{"op": "hello", "id": "1", "resume": map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: 0}}})
	s.until("message") // and reads no more for now
	bob.call("POST", "auth/logout", nil).want(t, 204)
	bob.wantOut(t)
	s.write(`{"op":"send","id":"2","conversation_id":"` + k + `","client_msg_id":"late","body":"after the end"}`)
	if code := s.closed(); code != 4410 {
		t.Errorf("closed with %d, want 4410", code)
	}
	page := alice.call("GET", "conversations/"+k+"/messages?limit=1", nil).want(t, 200)
	if last := page.value("items").([]any)[0].(map[string]any); last["seq"] != float64(all) {
		t.Errorf("the session sent on after its end: seq %v", last["seq"])
	}
}
