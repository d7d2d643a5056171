package e2e

import (
	"fmt"
	"testing"

	"github.com/nova-chat/nova/internal/config"
)

// seqs lists the sequence numbers of message frames.
func seqs(t *testing.T, frames []map[string]any) (list []int) {
	t.Helper()
	for _, f := range frames {
		if f["op"] == "message" {
			list = append(list, seqOf(f))
		}
	}
	return list
}

func seqOf(f map[string]any) int { return int(f["message"].(map[string]any)["seq"].(float64)) }

func wantSeqs(t *testing.T, got []int, from, to int) {
	t.Helper()
	if len(got) != to-from+1 {
		t.Fatalf("got %d messages (%v), want %d to %d", len(got), got, from, to)
	}
	for i, seq := range got {
		if seq != from+i {
			t.Fatalf("place %d has seq %d, want %d: %v", i, seq, from+i, got)
		}
	}
}

func TestResumeGivesWhatWasMissedInOrder(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	_, welcome, _ := bob.connect()
	const all = 150 // more than a page
	for i := range all {
		alice.send(k, fmt.Sprintf("c-%d", i), "text", "X-Correlation-ID", fmt.Sprintf("cause-%d", i+1)).want(t, 201)
	}
	s, _, missed := bob.connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: 3}})
	wantSeqs(t, seqs(t, s.fill(missed, all)), 4, all)
	if missed[0]["cid"] != "cause-4" {
		t.Errorf("a missed message carries %v, want the cause it was sent with", missed[0]["cid"])
	}
	alice.send(k, "live", "text").want(t, 201)
	if f := s.until("message"); seqOf(f) != all+1 {
		t.Errorf("after live comes %v", f)
	}
}

func TestResumeGoesOnFromTheAcknowledgement(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	s, _, _ := bob.connect()
	mine, _, _ := alice.connect()
	for i := range 5 {
		alice.send(k, fmt.Sprintf("c-%d", i), "text").want(t, 201)
	}
	for range 5 {
		s.until("message")
	}
	s.write(map[string]any{"op": "ack", "conversation_id": k, "seq": 2})
	mine.until("receipt") // it is stored before it is told
	s, _, missed := bob.connect()
	wantSeqs(t, seqs(t, s.fill(missed, 5)), 3, 5)

	// A conversation that was made while the device was away comes whole.
	carol := n.register("carol")
	k2 := carol.direct(bob)
	carol.send(k2, "c-1", "hello").want(t, 201)
	s, _, missed = bob.connect()
	found := 0
	for _, f := range s.fill(missed, 1) {
		if m, ok := f["message"].(map[string]any); ok && m["conversation_id"] == k2 {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d messages of the conversation made meanwhile, want 1: %v", found, missed)
	}
}

func TestResumeIncludesMyOwnFromOtherDevices(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	_, welcome, _ := alice.connect()
	phone := n.login("alice", "phone")
	phone.send(k, "c-1", "from the phone").want(t, 201)
	s, _, missed := alice.connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: 0}})
	wantSeqs(t, seqs(t, s.fill(missed, 1)), 1, 1)
}

func TestResumeWithWhatIsNotThere(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob, eve := n.register("alice"), n.register("bob"), n.register("eve")
	k := alice.direct(bob)
	alice.send(k, "c-1", "text").want(t, 201)
	_, welcome, _ := bob.connect()

	_, _, missed := bob.connect(map[string]any{"epoch": "ANOTHER", "conversations": map[string]int{k: 0}})
	if len(missed) != 1 || missed[0]["op"] != "resync" || missed[0]["reason"] != "epoch" {
		t.Errorf("another epoch gives %v", missed)
	}
	_, _, missed = bob.connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: 9}})
	if len(missed) != 1 || missed[0]["op"] != "resync" || missed[0]["conversation_id"] != k {
		t.Errorf("a sequence from the future gives %v", missed)
	}
	s := eve.dial()
	s.write(map[string]any{"op": "hello", "id": "1", "resume": map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: 0}}})
	if f := s.read(); f["op"] != "error" || f["code"] != "not_found" {
		t.Errorf("a stranger's conversation gives %v", f)
	}
	if f := s.until("live"); f == nil {
		t.Error("the socket should stay")
	}
}

func TestEpochAndMessagesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := start(t, dir)
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	_, welcome, _ := bob.connect()
	alice.send(k, "c-1", "before").want(t, 201)
	first := n.stop()
	if first.Err != nil || first.Accepted != 1 || first.Committed != 1 || first.OutboxLeft != 0 {
		t.Errorf("ledger %+v", first)
	}
	n = start(t, dir)
	alice.n, bob.n = n, n
	alice.send(k, "c-1", "before").want(t, 200)
	alice.send(k, "c-2", "after").want(t, 201)
	s, again, missed := bob.connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: 0}})
	if again["epoch"] != welcome["epoch"] {
		t.Errorf("the epoch changed from %v to %v", welcome["epoch"], again["epoch"])
	}
	wantSeqs(t, seqs(t, s.fill(missed, 2)), 1, 2)
}

func TestCatchingUpUnderLoadMissesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), func(c *config.Config) {
		c.Limits.MessagesPerConversation.Count, c.Limits.MessagesPerConversation.Burst = 100_000, 100_000
	})
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	_, welcome, _ := bob.connect()
	sender, _, _ := alice.connect()
	const all = 1500
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range all {
			if err := sender.c.WriteText(fmt.Appendf(nil, `{"op":"send","id":"%d","conversation_id":"%s","client_msg_id":"m-%d","body":"text"}`, i, k, i)); err != nil {
				return
			}
			if i%20 == 0 { // no faster than the limits allow
				for range 20 {
					if _, err := sender.next(); err != nil {
						return
					}
					if i == 0 {
						break
					}
				}
			}
		}
	}()
	// While messages pour in, the device returns again and again.
	have := 0
	for have < all/2 {
		s, _, missed := bob.connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: have}})
		got := seqs(t, missed)
		for i := 0; i < 20 && have+len(got) < all; i++ {
			f := s.read()
			got = append(got, seqs(t, []map[string]any{f})...)
		}
		wantSeqs(t, got, have+1, have+len(got))
		have += len(got)
	}
	n.stop()
	<-done
}
