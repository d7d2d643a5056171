package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/messaging/inbound"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
)

// receipt is a receipt frame.
type receipt struct {
	Op             string `json:"op"`
	CID            string `json:"cid"`
	Kind           string `json:"kind"`
	ConversationID string `json:"conversation_id"`
	Seq            int64  `json:"seq"`
	UserID         string `json:"user_id"`
	DeviceID       string `json:"device_id"`
	Count          int    `json:"count"`
}

func envelopeOf(t tester, conversation string, h hint) bus.Envelope {
	t.Helper()
	payload, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return bus.Envelope{ID: someID, Type: typeHint, Key: conversation, At: time.Now(), Payload: payload}
}

// receipts decodes what was published, with whom each was for.
func (r *rig) receipts() (list []receipt, to [][]string) {
	r.Helper()
	for _, h := range r.fanout.take() {
		var x receipt
		r.must(json.Unmarshal(h.Frame, &x))
		if x.Op != "receipt" || x.CID == "" {
			r.Errorf("published %s", h.Frame)
		}
		x.CID = ""
		list, to = append(list, x), append(to, slices.Sorted(slices.Values(h.To)))
	}
	return list, to
}

// acker is a socket that acknowledges.
func (r *rig) acker(who token.Identity) *socket { return &socket{s: r.s, who: who, phase: live} }

func (r *rig) ack(so *socket, conversation string, seq int64) error {
	return so.ack(cause(), &inbound.Frame{Op: obs.OpAck, CID: "c", ConversationID: conversation, Seq: seq})
}

func (r *rig) mark(who token.Identity, conversation string) int64 {
	r.Helper()
	m, err := r.s.readMarks(cause(), who)
	r.must(err)
	return m[conversation]
}

// TestAcknowledgementsAreGathered: many become one write and one receipt, for
// all senders of what is newly covered; what was had before tells nobody.
func TestAcknowledgementsAreGathered(t *testing.T) {
	r := single(t)
	alice, bob, carol := somebody("a"), somebody("b"), somebody("c")
	k := r.room(alice, bob, carol)
	for range 5 {
		r.post(alice, k, "x")
	}
	r.post(bob, k, "my own")
	r.apply(1000)
	so := r.acker(bob)
	for seq := range int64(4) {
		r.must(r.ack(so, k, seq+1))
	}
	r.must(r.ack(so, k, 2)) // a late one
	if got := r.mark(bob, k); got != 0 {
		t.Errorf("written before it was gathered: %d", got)
	}
	r.s.marks.flush(cause())
	if got := r.mark(bob, k); got != 4 {
		t.Errorf("the mark is at %d, want 4", got)
	}
	list, to := r.receipts()
	want := []receipt{{Op: "receipt", Kind: "delivered", ConversationID: k, Seq: 4, UserID: bob.UserID, DeviceID: "b"}}
	if diff := cmp.Diff(want, list); diff != "" || len(to) != 1 || !slices.Equal(to[0], []string{alice.UserID}) {
		t.Errorf("to %v (-want +got):\n%s", to, diff)
	}
	for _, again := range []int64{4, 3, 0} {
		r.must(r.ack(so, k, again))
	}
	r.s.marks.flush(cause())
	if list, _ := r.receipts(); len(list) != 0 {
		t.Errorf("an acknowledgement that says nothing new gives %v", list)
	}
	r.must(r.ack(so, k, 6)) // alice's fifth and my own
	r.s.marks.flush(cause())
	if list, to := r.receipts(); len(list) != 1 || list[0].Seq != 6 || !slices.Equal(to[0], []string{alice.UserID}) {
		t.Errorf("%v to %v", list, to)
	}
}

// TestADeviceBeganOnce: a second socket of a new device, which came before the marks
// of the first were written, does not move what the device began with.
func TestADeviceBeganOnce(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	for range 2 {
		r.post(alice, k, "x")
	}
	r.apply(1000)
	for _, since := range []int64{7, 0, 9} {
		r.s.marks.add(deviceMark{bob.UserID, bob.DeviceID, k}, gathered{seq: 1, since: since, correlation: "c"})
	}
	r.s.marks.add(deviceMark{bob.UserID, bob.DeviceID, r.room(alice, bob, somebody("c"))}, gathered{seq: 1, since: 8, correlation: "c"})
	r.s.marks.flush(cause())
	r.s.marks.add(deviceMark{bob.UserID, bob.DeviceID, k}, gathered{seq: 2, since: 9, correlation: "c"}) // as another node might
	r.s.marks.flush(cause())
	if got := r.mark(bob, beginning); got != 7 {
		t.Errorf("it began at %d, want 7", got)
	}
	r.s.marks.add(deviceMark{bob.UserID, bob.DeviceID, k}, gathered{seq: 2, since: 5, correlation: "c"}) // its first, written last
	r.s.marks.flush(cause())
	if got := r.mark(bob, beginning); got != 5 {
		t.Errorf("it began at %d, want 5", got)
	}
}

// TestMarksNeverGoBack, on the socket and in the store.
func TestMarksNeverGoBack(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	for range 5 {
		r.post(alice, k, "x")
	}
	r.apply(1000)
	r.must(r.ack(r.acker(bob), k, 4))
	r.s.marks.flush(cause())
	next := r.acker(bob) // the device's next socket, whose client knows less
	if _, err := next.plan(cause(), nil); err != nil {
		t.Fatal(err)
	}
	r.must(r.ack(next, k, 2))
	r.s.marks.flush(cause())
	if got := r.mark(bob, k); got != 4 {
		t.Errorf("the mark went back to %d", got)
	}
	r.s.marks.add(deviceMark{bob.UserID, "b", k}, gathered{seq: 1, correlation: "c"}) // as another node might, which knows less
	r.s.marks.flush(cause())
	if got := r.mark(bob, k); got != 4 {
		t.Errorf("the store took the mark back to %d", got)
	}
	r.fanout.take()
	phone := bob
	phone.DeviceID = "phone"
	if got := r.mark(phone, k); got != 0 {
		t.Errorf("another device has %d", got)
	}
	for _, seq := range []int64{6, 1 << 62} {
		if err := r.ack(r.acker(bob), k, seq); err == nil {
			t.Errorf("seq %d of 5 was taken", seq)
		}
	}
	if err := r.ack(r.acker(somebody("e")), k, 1); !errors.Is(err, errNoConversation) {
		t.Errorf("a stranger: %v", err)
	}
	r.must(r.s.markRead(cause(), bob.UserID, k, 3))
	r.must(r.s.markRead(cause(), bob.UserID, k, 1))
	if c, err := r.s.conversation(cause(), k, bob.UserID); err != nil || c.ReadSeq != 3 {
		t.Errorf("read %d, %v", c.ReadSeq, err)
	}
	if list, _ := r.receipts(); len(list) != 1 || list[0].Kind != "read" || list[0].Seq != 3 {
		t.Errorf("receipts %+v", list)
	}
}

// TestResumeIsAnAcknowledgement: what a device says that it has is stored as the
// greatest, tells the senders, and goes on when it comes without resume.
func TestResumeIsAnAcknowledgement(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	for range 5 {
		r.post(alice, k, "x")
	}
	r.apply(1000)
	for _, said := range []int64{4, 2} {
		plan, err := r.acker(bob).plan(cause(), &inbound.Resume{Epoch: r.s.epoch, Conversations: map[string]int64{k: said}})
		r.must(err)
		r.s.marks.flush(cause())
		if plan.from[k] != said || r.mark(bob, k) != 4 {
			t.Errorf("resume at %d: from %d, mark %d, want 4", said, plan.from[k], r.mark(bob, k))
		}
	}
	if list, _ := r.receipts(); len(list) != 1 || list[0].Seq != 4 {
		t.Errorf("receipts %+v", list)
	}
	plan, err := r.acker(bob).plan(cause(), nil)
	r.must(err)
	if plan.from[k] != 4 || !plan.known {
		t.Errorf("without resume: %+v", plan)
	}
	stranger := r.acker(somebody("e"))
	plan, err = stranger.plan(cause(), &inbound.Resume{Epoch: r.s.epoch, Conversations: map[string]int64{k: 2}})
	r.must(err)
	r.s.marks.flush(cause())
	if plan.refused == nil || len(plan.from) != 0 || r.mark(stranger.who, k) != 0 {
		t.Errorf("a stranger's resume: %+v", plan)
	}
}

// TestAcknowledgementsOutliveAStoreThatFails: what could not be written is
// written later, with what came in between.
func TestAcknowledgementsOutliveAStoreThatFails(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	for range 3 {
		r.post(alice, k, "x")
	}
	r.apply(1000)
	so := r.acker(bob)
	r.must(r.ack(so, k, 2))
	ctx, cancel := context.WithCancel(cause())
	cancel()
	r.s.marks.flush(ctx)
	if list, _ := r.receipts(); len(list) != 0 || r.mark(bob, k) != 0 {
		t.Fatalf("a write that failed is told: %v", list)
	}
	r.must(r.ack(so, k, 3))
	r.s.marks.flush(cause())
	if list, _ := r.receipts(); len(list) != 1 || list[0].Seq != 3 || r.mark(bob, k) != 3 {
		t.Errorf("%v, mark %d", list, r.mark(bob, k))
	}
}

// What was gathered while the store was away is more than one write should take.
func TestManyAcknowledgementsAreSeveralWrites(t *testing.T) {
	r := single(t)
	const n = 2*marksTogether + 1
	gather := func() {
		for i := range n {
			r.s.marks.add(deviceMark{fmt.Sprint("user", i), "device", "room"}, gathered{seq: 1, since: 1})
		}
	}
	gather()
	for _, want := range []int{marksTogether, marksTogether, 1, 0} {
		if got := len(r.s.marks.take()); got != want {
			t.Errorf("%d are taken, want %d", got, want)
		}
	}
	gather()
	r.s.marks.flush(cause())
	if got := r.number(`SELECT count(*) FROM device_marks`); got != 2*n { // each with where its device began
		t.Errorf("%d marks", got)
	}
}

// TestUnacknowledgedMessagesAreCountedOnce, however often it is looked.
func TestUnacknowledgedMessagesAreCountedOnce(t *testing.T) {
	begin := time.Now()
	so := &socket{}
	so.track("K", 5, begin)
	so.track("K", 6, begin.Add(time.Second))
	if n, age := so.overdue(begin.Add(unackedAfter)); n != 0 || age != unackedAfter {
		t.Errorf("in time: %d, %v", n, age)
	}
	late := begin.Add(unackedAfter + time.Second)
	if n, _ := so.overdue(late); n != 2 {
		t.Errorf("%d are late, want 2", n)
	}
	if n, age := so.overdue(late); n != 0 || age != unackedAfter+time.Second {
		t.Errorf("the second look counts %d, age %v", n, age)
	}
	so.track("K", 7, late)
	if n, _ := so.overdue(late.Add(time.Second)); n != 0 {
		t.Errorf("%d are late a second after they came", n)
	}
	if n, _ := so.overdue(late.Add(unackedAfter + time.Second)); n != 1 {
		t.Errorf("%d more are late, want 1", n)
	}
	// Its first acknowledgement covers what came before this socket, too.
	if after, _, moved := so.acked("K", 7); !moved || after != 0 {
		t.Errorf("acknowledged from %d, %v", after, moved)
	}
	if n, age := so.overdue(late.Add(time.Hour)); n != 0 || age != 0 {
		t.Errorf("after the acknowledgement: %d, %v", n, age)
	}
	if marks := slices.Collect(maps.Keys(so.marks)); len(marks) != 1 {
		t.Errorf("marks %v", marks)
	}
}

// TestResyncAcknowledgesNothing: who names what this store does not have is told
// to reload, and is not taken to have anything.
func TestResyncAcknowledgesNothing(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	so := r.acker(bob)
	m, err := so.plan(cause(), &inbound.Resume{Epoch: r.s.epoch, Conversations: map[string]int64{k: 9}})
	if err != nil || len(m.resync) != 1 {
		t.Fatalf("plan %+v, %v", m, err)
	}
	r.s.marks.flush(cause())
	if got := r.mark(bob, k); got != 0 {
		t.Errorf("%d is taken as acknowledged", got)
	}
	if so.marks[k] != nil {
		t.Errorf("the socket has a mark: %+v", so.marks[k])
	}
}
