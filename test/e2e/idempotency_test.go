package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/obs"
)

// tally counts how often each answer was given, from many goroutines.
type tally struct {
	mu  sync.Mutex
	all map[string]int
}

func (c *tally) add(answer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]int{}
	}
	c.all[answer]++
}

func TestAThousandSendsOfOneMessage(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	b, before := n.books(t), n.metrics(t)
	rows := b.read(obs.Messaging, "SELECT COUNT(*) FROM messages")
	receiver := bob.live(t)
	const all, lanes = 1000, 20 // half of them over REST, half over the device's socket
	var statuses, bodies, sents tally
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			for range all / 2 / lanes {
				a := alice.send(k, "one", "one text")
				statuses.add(fmt.Sprint(a.status))
				bodies.add(string(a.raw))
			}
		})
	}
	wg.Go(func() {
		q := alice.live(t)
		frame := textFrame(`{"op":"send","id":"1","cid":"c","conversation_id":"` + k + `","client_msg_id":"one","body":"one text"}`)
		q.send(strings.Repeat(frame, all/2))
		for range all / 2 {
			sents.add(q.until("sent"))
		}
	})
	wg.Wait()
	if len(bodies.all) != 1 || len(sents.all) != 1 {
		t.Errorf("answers differ: %v and %v", bodies.all, sents.all)
	}
	if created := statuses.all["201"]; created > 1 || created+statuses.all["200"] != all/2 {
		t.Errorf("statuses %v", statuses.all)
	}
	if got := b.read(obs.Messaging, "SELECT COUNT(*) FROM messages") - rows; got != 1 {
		t.Errorf("%d rows, want 1", got)
	}
	if got := alice.call("GET", "conversations/"+k, nil).want(t, 200); got.number("last_seq") != 1 {
		t.Errorf("the conversation ends elsewhere: %s", got.raw)
	}
	n.wantAdded(t, before, map[string]float64{"messages_accepted_total": all, "messages_committed_total": 1, "messages_repeated_total": all - 1},
		"messages_accepted_total", "messages_committed_total", "messages_repeated_total", "messages_rejected_total", "messages_unknown_total")
	receiver.until("message")
	alice.send(k, "two", "another").want(t, 201)
	if f := receiver.until("message"); !strings.Contains(f, `"seq":2`) {
		t.Errorf("the recipient got a repeat: %s", f)
	}
}

// TestTwoTextsRaceForOneIdentifier: whichever comes first is the message; the
// other is told so, each time.
func TestTwoTextsRaceForOneIdentifier(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	var got tally
	var wg sync.WaitGroup
	for lane := range 20 {
		wg.Go(func() {
			for range 10 {
				body := fmt.Sprintf("text %d", lane%2)
				a := alice.send(k, "one", body)
				if a.status < 300 && a.text("body") != body {
					t.Errorf("%q was answered with %s", body, a.raw)
				}
				got.add(fmt.Sprintf("%s %d", body, a.status))
			}
		})
	}
	wg.Wait()
	winner, loser := "text 0", "text 1"
	if got.all[loser+" 201"] == 1 {
		winner, loser = loser, winner
	}
	if got.all[winner+" 201"] != 1 || got.all[winner+" 200"] != 99 || got.all[loser+" 409"] != 100 {
		t.Errorf("answers %v", got.all)
	}
	if a := bob.call("GET", "conversations/"+k+"/messages", nil).want(t, 200); len(a.value("items").([]any)) != 1 {
		t.Errorf("history %s", a.raw)
	}
}

func TestParallelDirectConversations(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	b := n.books(t)
	var statuses, ids tally
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			me, other := alice, bob
			if i%2 == 1 {
				me, other = bob, alice
			}
			a := me.call("POST", "conversations", map[string]any{"kind": "direct", "member_ids": []string{other.id}})
			statuses.add(fmt.Sprint(a.status))
			ids.add(a.text("id"))
		})
	}
	wg.Wait()
	if len(ids.all) != 1 || ids.all[""] != 0 || statuses.all["201"] != 1 || statuses.all["200"] != 49 {
		t.Errorf("conversations %v, statuses %v", ids.all, statuses.all)
	}
	for query, want := range map[string]int64{"SELECT COUNT(*) FROM conversations": 1, "SELECT COUNT(*) FROM members": 2} {
		if got := b.read(obs.Messaging, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

func TestParallelGroupsUnderOneIdempotencyKey(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	var statuses, ids tally
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			body := map[string]any{"kind": "group", "name": "G", "member_ids": []string{bob.id}}
			a := alice.call("POST", "conversations", body, "Idempotency-Key", "k-1")
			statuses.add(fmt.Sprint(a.status))
			ids.add(a.text("id"))
		})
	}
	wg.Wait()
	if len(ids.all) != 1 || ids.all[""] != 0 || statuses.all["201"] != 1 || statuses.all["200"] != 49 {
		t.Errorf("groups %v, statuses %v", ids.all, statuses.all)
	}
	for _, odd := range []string{"a b", "ä", strings.Repeat("x", 65), "~"} {
		a := alice.call("POST", "conversations", map[string]any{"kind": "group", "name": "G", "member_ids": []string{bob.id}}, "Idempotency-Key", odd)
		if a.status != 422 {
			t.Errorf("Idempotency-Key %q: %d %s", odd, a.status, a.raw)
		}
	}
}

// TestScopeOfAMessageIdentifier: it belongs to the sender's device, and names
// one message in one conversation.
func TestScopeOfAMessageIdentifier(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob, carol := n.register("alice"), n.register("bob"), n.register("carol")
	phone := n.login("alice", "phone")
	k, other := alice.direct(bob), alice.direct(carol)
	first := alice.send(k, "c-1", "text").want(t, 201)
	alice.send(k, "c-1", "text").want(t, 200)
	alice.send(k, "c-1", "other").wantProblem(t, 409, "idempotency_conflict", "client_msg_id")
	alice.send(other, "c-1", "text").wantProblem(t, 409, "idempotency_conflict", "client_msg_id")
	second := phone.send(k, "c-1", "text").want(t, 201)
	third := bob.send(k, "c-1", "text").want(t, 201)
	if first.number("seq") != 1 || second.number("seq") != 2 || third.number("seq") != 3 || first.text("id") == second.text("id") {
		t.Errorf("%s, %s, %s", first.raw, second.raw, third.raw)
	}
	again := n.login("alice", "laptop") // another session of the same device
	if a := again.send(k, "c-1", "text").want(t, 200); string(a.raw) != string(first.raw) {
		t.Errorf("after a new login the repeat gives %s", a.raw)
	}
}
