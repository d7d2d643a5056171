package messaging

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nova-chat/nova/internal/token"
)

// largeRoom is a group whose receipts are counted, with people[0] and [1] as senders.
type largeRoom struct {
	*rig
	id      string
	people  []token.Identity
	sockets map[token.Identity]*socket
}

func inLargeRoom(t *testing.T) *largeRoom {
	r := &largeRoom{rig: single(t), people: make([]token.Identity, largeGroup+1), sockets: map[token.Identity]*socket{}}
	for i := range r.people {
		r.people[i] = somebody("d")
	}
	r.id = r.room(r.people...)
	return r
}

// says has people send, one message each, and hands them out.
func (r *largeRoom) says(people ...int) {
	for _, i := range people {
		r.post(r.people[i], r.id, "x")
	}
	r.apply(10_000)
}

func (r *largeRoom) acks(seq int64, people ...int) {
	r.Helper()
	for _, i := range people {
		who := r.people[i]
		if r.sockets[who] == nil {
			r.sockets[who] = r.acker(who)
		}
		r.must(r.ack(r.sockets[who], r.id, seq))
	}
}

// told is who was told what.
func (r *largeRoom) told() map[int]count {
	r.Helper()
	r.s.marks.flush(cause())
	told := map[int]count{}
	list, to := r.receipts()
	for i, x := range list {
		if x.Op != "receipt" || x.Kind != "delivered" || x.ConversationID != r.id || x.UserID != "" || x.DeviceID != "" {
			r.Errorf("a receipt that counts: %+v", x)
		}
		for _, user := range to[i] {
			n := slices.IndexFunc(r.people, func(who token.Identity) bool { return who.UserID == user })
			if _, twice := told[n]; twice {
				r.Errorf("person %d is told twice", n)
			}
			told[n] = count{x.Count, x.Seq}
		}
	}
	return told
}

func (r *largeRoom) check(what string, want map[int]count) {
	r.Helper()
	if got := r.told(); !maps.Equal(got, want) {
		r.Errorf("%s: told %v, want %v", what, got, want)
	}
}

// nothingYet checks that nobody is told, however long the test takes.
func (r *largeRoom) nothingYet() {
	r.Helper()
	r.s.marks.tallies[r.id].told = time.Now().Add(time.Hour)
	r.check("within the second", map[int]count{})
}

func (r *largeRoom) aSecondPasses() {
	r.s.marks.tallies[r.id].told = time.Now().Add(-receiptsApart)
}

// TestReceiptsOfALargeGroup: at most one a second, with the number of devices.
func TestReceiptsOfALargeGroup(t *testing.T) {
	r := inLargeRoom(t)
	r.says(0, 0, 0, 1)
	r.acks(1, 2, 3, 4, 5)
	r.check("the first at once", map[int]count{0: {4, 1}})
	for seq := range int64(3) { // in three portions, within the second
		r.acks(seq+2, 2, 3)
		r.nothingYet()
	}
	r.acks(2, 6)
	r.nothingYet()
	r.aSecondPasses()
	r.check("a second later: three devices, each once, and two that have what 1 sent", map[int]count{0: {3, 4}, 1: {2, 4}})
	r.aSecondPasses()
	r.check("nothing new", map[int]count{})
	if len(r.s.marks.tallies) != 0 {
		t.Error("a group that has fallen silent is kept")
	}
}

// TestAGroupThatIsNotLarge has its receipts named, of old messages too, whose senders
// are in the log alone.
func TestAGroupThatIsNotLarge(t *testing.T) {
	r := single(t)
	people := make([]token.Identity, largeGroup)
	for i := range people {
		people[i] = somebody("d")
	}
	k := r.room(people...)
	for i := range remembered + 10 {
		r.post(people[i%2], k, "x")
	}
	r.apply(10_000)
	r.must(r.ack(r.acker(people[2]), k, 3))
	r.s.marks.flush(cause())
	list, to := r.receipts()
	want := []receipt{{Op: "receipt", Kind: "delivered", ConversationID: k, Seq: 3, UserID: people[2].UserID, DeviceID: "d"}}
	senders := slices.Sorted(slices.Values([]string{people[0].UserID, people[1].UserID}))
	if diff := cmp.Diff(want, list); diff != "" || !slices.Equal(to[0], senders) {
		t.Errorf("to %v (-want +got):\n%s", to, diff)
	}
}

// TestOwnDevicesDoNotCount in a large group: not in the number, not in the sequence,
// and a receipt that only they would have caused keeps nobody's waiting.
func TestOwnDevicesDoNotCount(t *testing.T) {
	r := inLargeRoom(t)
	r.says(0, 0, 1)
	r.acks(2, 0)
	r.check("one's own device", map[int]count{})
	r.acks(1, 2)
	r.check("another's at once", map[int]count{0: {1, 1}})
	r.acks(3, 0)
	r.acks(2, 3)
	r.aSecondPasses()
	r.check("one's own is ahead", map[int]count{0: {1, 2}, 1: {1, 3}})
}

// TestWhoseMessageNobodyHasIsNotTold, though others are told of later ones.
func TestWhoseMessageNobodyHasIsNotTold(t *testing.T) {
	r := inLargeRoom(t)
	r.says(0, 1, 2)
	r.acks(1, 3)
	r.check("the first", map[int]count{0: {1, 1}})
	r.acks(2, 3)
	r.aSecondPasses()
	r.check("the second", map[int]count{1: {1, 2}})
}

// TestWhoSeldomSendsInABusyLargeGroup is told all the same, whatever the range that
// memory, or one look into the log, covers.
func TestWhoSeldomSendsInABusyLargeGroup(t *testing.T) {
	r := inLargeRoom(t)
	crowd := make([]int, 2*remembered+100)
	crowd[700], crowd[len(crowd)-1] = 1, 2
	r.says(crowd...)
	last := int64(len(crowd))
	r.acks(1, 3, 4) // else their first would cover no more than what is remembered
	r.check("the first", map[int]count{0: {2, 1}})
	for seq := int64(600); seq < last; seq += 600 {
		for _, i := range []int{3, 4} {
			r.acks(seq, i)
			r.nothingYet()
		}
	}
	r.acks(last, 3)
	r.aSecondPasses()
	r.check("a second later", map[int]count{0: {2, last}, 1: {2, last}, 2: {1, last}})
}

// TestALookThatFailsIsTakenAgain with the next acknowledgement of the same messages.
func TestALookThatFailsIsTakenAgain(t *testing.T) {
	r := inLargeRoom(t)
	r.says(make([]int, remembered+10)...) // the first are in the log alone
	ctx, cancel := context.WithCancel(cause())
	cancel()
	room, err := r.s.rooms.get(cause(), r.id)
	r.must(err)
	tally := newTally(time.Time{})
	for i, ctx := range []context.Context{ctx, cause()} {
		tally.add(device{r.people[i+1].UserID, "d"}, span{0, 5}, func(of span, senders map[int64]string) bool {
			return r.s.lookForSenders(ctx, room, of, senders)
		})
		if want := 5 * i; len(tally.senders) != want {
			t.Errorf("after look %d: senders of %d messages, want %d", i, len(tally.senders), want)
		}
	}
	if diff := cmp.Diff(map[count][]string{{2, 5}: {r.people[0].UserID}}, tally.counts(), cmp.AllowUnexported(count{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTallies: whatever is acknowledged in whatever order, each sender is told of the
// devices of others that newly got something from him, and, where spans touch, each
// message is looked for once.
func TestTallies(t *testing.T) {
	users := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(t *rapid.T) {
		log := rapid.SliceOfN(rapid.SampledFrom(users), 40, 40).Draw(t, "log") // the sender of seq is log[seq-1]
		tally := newTally(time.Time{})
		asked := map[int64]int{}
		got := map[device]span{}
		linked, failed := true, false
		for range rapid.IntRange(1, 8).Draw(t, "acknowledgements") {
			d := device{rapid.SampledFrom(users).Draw(t, "user"), rapid.SampledFrom([]string{"phone", "tablet"}).Draw(t, "device")}
			of := span{after: rapid.Int64Range(0, 39).Draw(t, "after")}
			if before, ok := got[d]; ok { // it goes on
				of.after = min(before.upTo, 39)
			}
			of.upTo = rapid.Int64Range(of.after+1, 40).Draw(t, "up to")
			linked = linked && (len(got) == 0 || of.after <= tally.looked.upTo && of.upTo >= tally.looked.after)
			fails := rapid.IntRange(0, 9).Draw(t, "fails") == 0
			tally.add(d, of, func(of span, senders map[int64]string) bool {
				if fails {
					failed = true
					return false
				}
				for seq := of.after + 1; seq <= of.upTo; seq++ {
					asked[seq]++
					senders[seq] = log[seq-1]
				}
				return true
			})
			if before, ok := got[d]; ok {
				of.after = min(of.after, before.after)
			}
			got[d] = of
		}
		want := map[string]count{}
		for _, sender := range users {
			var c count
			for d, of := range got {
				covers := false
				for seq := of.after + 1; seq <= of.upTo; seq++ {
					covers = covers || log[seq-1] == sender && (!failed || asked[seq] > 0)
				}
				if d.user != sender && covers {
					c = count{c.devices + 1, max(c.seq, of.upTo)}
				}
			}
			if c.devices > 0 {
				want[sender] = c
			}
		}
		told := map[string]count{}
		for c, senders := range tally.counts() {
			for _, sender := range senders {
				told[sender] = c
			}
		}
		if !maps.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		for seq, n := range asked {
			if linked && !failed && n > 1 {
				t.Errorf("%d was looked for %d times", seq, n)
			}
		}
	})
}

// TestTheFirstOfADevice covers all that is remembered.
func TestTheFirstOfADevice(t *testing.T) {
	r := inLargeRoom(t)
	crowd := make([]int, remembered)
	crowd[5] = 1
	r.says(crowd...)
	r.acks(remembered, 3)
	r.check("all that is remembered", map[int]count{0: {1, remembered}, 1: {1, remembered}})
}
