package messaging

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// TestTheRingRemembersTheLast: covered gives exactly the remembered messages of
// the range, and says whole only if that is all of it.
func TestTheRingRemembersTheLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Int64Range(1, 1000).Draw(t, "first") // what came before is not remembered
		count := rapid.Int64Range(0, 3*remembered).Draw(t, "count")
		r := &room{lastSeq: first - 1}
		for seq := first; seq < first+count; seq++ {
			r.applied(trace{seq: seq, sender: "S"})
		}
		last := first + count - 1
		if r.last() != last || len(r.recent) > remembered {
			t.Fatalf("last %d, want %d; %d remembered", r.last(), last, len(r.recent))
		}
		oldest := max(first, last-remembered+1)
		after := rapid.Int64Range(0, last+5).Draw(t, "after")
		upTo := rapid.Int64Range(after, last+10).Draw(t, "upTo")
		seen := map[int64]bool{}
		whole := r.covered(after, upTo, func(x *trace) {
			if x.seq <= after || x.seq > upTo || seen[x.seq] {
				t.Errorf("seq %d in (%d, %d]", x.seq, after, upTo)
			}
			seen[x.seq] = true
		})
		want := max(0, min(upTo, last)-max(after, oldest-1))
		if int64(len(seen)) != want || whole != (want == upTo-after) {
			t.Fatalf("%d of (%d, %d], whole %v; want %d (remembered: %d to %d)", len(seen), after, upTo, whole, want, oldest, last)
		}
	})
}

func TestTheRingForgetsTheOldest(t *testing.T) {
	r := &room{}
	for seq := range int64(2*remembered + 10) {
		r.applied(trace{seq: seq + 1})
	}
	n := 0
	count := func(*trace) { n++ }
	if whole := r.covered(remembered+10, 2*remembered+10, count); n != remembered || !whole {
		t.Errorf("%d of the last %d are remembered", n, remembered)
	}
	n = 0
	if whole := r.covered(0, remembered+10, count); n != 0 || whole {
		t.Errorf("%d older ones are remembered", n)
	}
}

func TestMembersAreFoundByUser(t *testing.T) {
	r := &room{}
	if r.has("A") {
		t.Error("an empty room has a member")
	}
	for _, user := range []string{"B", "D", "F"} {
		r.members = append(r.members, member{user: user, role: "role of " + user, firstSeq: 7})
	}
	for _, user := range []string{"B", "D", "F"} {
		if m, ok := r.find(user); !ok || m.role != "role of "+user {
			t.Errorf("%s: %+v %v", user, m, ok)
		}
	}
	for _, user := range []string{"", "A", "C", "E", "G", "b"} {
		if r.has(user) {
			t.Errorf("%q is a member", user)
		}
	}
}

func TestARoomThatIsNotThere(t *testing.T) {
	r := single(t)
	for range 2 { // a no is not remembered as a yes
		if _, err := r.s.rooms.get(cause(), someID); !errors.Is(err, errNoConversation) {
			t.Errorf("got %v", err)
		}
	}
	a, b := somebody("a"), somebody("b")
	k := r.room(a, b)
	r.post(a, k, "x")
	r.s.rooms.cache.Invalidate(k)
	got, err := r.s.rooms.get(cause(), k)
	if err != nil || !got.has(a.UserID) || !got.has(b.UserID) || got.has(someID) || got.last() != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
