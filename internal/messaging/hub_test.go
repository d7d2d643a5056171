package messaging

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/messaging/inbound"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/ws"
)

// goLiveByHand takes a socket through the stages of catchUp; between them the
// test lets whatever it likes happen.
func (r *rig) goLiveByHand(so *socket, m *missed, between func(stage string)) {
	r.Helper()
	ctx := cause()
	if _, ok := r.s.hub.admit(so, 1<<20); !ok {
		r.Fatal("the socket is not admitted")
	}
	so.setPhase(catching)
	c := catcher{so: so, missed: m}
	between("catching")
	r.must(c.toward(ctx, r.s.hub.position()))
	between("caught up once")
	r.must(c.toward(ctx, r.s.hub.position()))
	between("before the join")
	joined, ok := c.join()
	if !ok {
		r.Fatal("the socket may not join")
	}
	between("holding")
	r.must(c.toward(ctx, joined))
	between("before the release")
	if isLive, err := c.release(ctx); !isLive {
		r.Fatalf("the socket is not live: %v", err)
	}
	r.s.sockets.Kick()
	between("live")
}

// wantOnce wants each sequence of a conversation once and in order.
func (r *rig) wantOnce(list []frame, conversation string, from, to int64) {
	r.Helper()
	next := from
	for _, f := range list {
		if f.Op != "message" || f.Message.ConversationID != conversation {
			continue
		}
		if f.Message.Seq != next {
			r.Fatalf("seq %d where %d should be, of %d to %d", f.Message.Seq, next, from, to)
		}
		next++
	}
	if next != to+1 {
		r.Fatalf("the messages end at %d, want %d to %d", next-1, from, to)
	}
}

// TestJoiningMissesAndRepeatsNothing: whatever is committed and handed out
// between the stages of a join, the socket gets each message after what it has
// once, in order, first what it missed and then what comes.
func TestJoiningMissesAndRepeatsNothing(t *testing.T) {
	base, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		r := newRig(t, folder(t, base, n))
		defer r.stop()
		alice, bob, carol := somebody("a"), somebody("b"), somebody("c")
		rooms := []string{r.room(alice, bob), r.room(alice, bob, carol)}
		sent := map[string]int64{}
		some := func(what string) {
			for range rapid.IntRange(0, 6).Draw(t, what+": sends") {
				k := rapid.SampledFrom(rooms).Draw(t, "room")
				r.post(alice, k, "x")
				sent[k]++
			}
			r.apply(rapid.IntRange(0, 8).Draw(t, what+": applies"))
		}
		some("before")
		have := map[string]int64{}
		for _, k := range rooms {
			have[k] = rapid.Int64Range(0, sent[k]).Draw(t, "has")
		}
		so, c := r.connect(bob)
		plan, err := so.plan(cause(), &inbound.Resume{Epoch: r.s.epoch, Conversations: have})
		r.must(err)
		r.goLiveByHand(so, plan, some)
		r.apply(1000)
		so.conn.Send(okFrame("end", "c"))
		list := r.frames(c, "ok")
		for _, k := range rooms {
			r.wantOnce(list, k, have[k]+1, sent[k])
		}
		live := 0
		for _, f := range list {
			if f.Op == "live" {
				live++
			}
		}
		if live != 1 {
			t.Fatalf("live was said %d times", live)
		}
		c.Drop()
	})
}

// TestADeviceThatIsAheadOfTheHub gets nothing that it says it has, although the
// hub hands that out only after the join.
func TestADeviceThatIsAheadOfTheHub(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	r.post(alice, k, "one")
	r.apply(1000)
	r.post(alice, k, "two") // read over REST, not handed out yet
	so, c := r.connect(bob)
	plan, err := so.plan(cause(), &inbound.Resume{Epoch: r.s.epoch, Conversations: map[string]int64{k: 2}})
	r.must(err)
	r.goLiveByHand(so, plan, func(string) {})
	r.post(alice, k, "three")
	r.apply(1000)
	so.conn.Send(okFrame("end", "c"))
	r.wantOnce(r.frames(c, "ok"), k, 3, 3)
	c.Drop()
}

// TestAConversationMadeMeanwhileComesWhole: one that is made while a known
// device is away, or while it catches up, comes from its first message.
func TestAConversationMadeMeanwhileComesWhole(t *testing.T) {
	for _, stage := range []string{"catching", "caught up once", "before the join", "holding", "before the release", "live"} {
		t.Run(stage, func(t *testing.T) {
			r := single(t)
			alice, bob, carol := somebody("a"), somebody("b"), somebody("c")
			k := r.room(alice, bob)
			r.post(alice, k, "x")
			r.apply(1000)
			so, c := r.connect(bob)
			made := ""
			r.goLiveByHand(so, &missed{from: map[string]int64{k: 0}, known: true}, func(now string) {
				if now == stage {
					made = r.room(carol, bob)
					r.post(carol, made, "y")
					r.apply(1000)
					r.post(carol, made, "z")
				}
			})
			r.apply(1000)
			so.conn.Send(okFrame("end", "c"))
			list := r.frames(c, "ok")
			r.wantOnce(list, k, 1, 1)
			r.wantOnce(list, made, 1, 2)
			c.Drop()
		})
	}
}

// TestMyOwnMessagesDoNotComeBack: what a socket sends while it catches up is
// answered with sent; only what others and my other devices sent comes.
func TestMyOwnMessagesDoNotComeBack(t *testing.T) {
	for _, stage := range []string{"catching", "caught up once", "before the join", "holding", "before the release", "live"} {
		t.Run(stage, func(t *testing.T) {
			r := single(t)
			alice, bob := somebody("a"), somebody("b")
			k := r.room(alice, bob)
			r.post(alice, k, "one")
			r.apply(1000)
			so, c := r.connect(bob)
			r.origin = so.conn.ID()
			r.goLiveByHand(so, &missed{from: map[string]int64{k: 0}, known: true}, func(now string) {
				if now != stage {
					return
				}
				so.send(cause(), &inbound.Frame{Op: obs.OpSend, ID: "s", CID: "c", ConversationID: k, ClientMsgID: "mine", Body: "two"})
				r.settle()
				r.apply(1000)
				r.post(alice, k, "three")
			})
			r.apply(1000)
			so.conn.Send(okFrame("end", "c"))
			var seqs []int64
			sents := 0
			for _, f := range r.frames(c, "ok") {
				switch f.Op {
				case "sent":
					sents++
				case "message":
					seqs = append(seqs, f.Message.Seq)
				}
			}
			if fmt.Sprint(seqs) != "[1 3]" || sents != 1 {
				t.Errorf("messages %v and %d sent, want 1 and 3 and one sent", seqs, sents)
			}
			c.Drop()
		})
	}
}

// settle waits until every send has its outcome.
func (r *rig) settle() {
	r.Helper()
	r.must(r.s.settled(cause()))
}

// held makes a socket without a connection that keeps what it is given.
func (r *rig) held(who token.Identity) *socket {
	r.Helper()
	so := &socket{s: r.s, who: who, phase: holding}
	if _, ok := r.s.hub.admit(so, 1<<20); !ok || !r.s.hub.join(so, func(int64) {}) {
		r.Fatal("the socket may not join")
	}
	return so
}

// TestOneFrameForAll: the frame is made once and every recipient gets that one.
func TestOneFrameForAll(t *testing.T) {
	r := single(t)
	people := make([]token.Identity, 200)
	for i := range people {
		people[i] = somebody("d")
	}
	k := r.room(people...)
	var sockets []*socket
	for _, who := range people {
		phone := who
		phone.SessionID, phone.DeviceID = id.New(), "phone"
		sockets = append(sockets, r.held(who), r.held(phone))
	}
	r.post(people[0], k, "for all")
	r.apply(1000)
	var first *ws.Frame
	for i, so := range sockets {
		if len(so.held) != 2 { // the conversation and the message
			t.Fatalf("socket %d got %d events, want 2", i, len(so.held))
		}
		f := so.held[1].delivery.frame
		if first == nil {
			first = f
		}
		if f != first {
			t.Fatalf("socket %d got a frame of its own", i)
		}
	}
}

// TestHandingOutMakesNothingPerRecipient bounds what one more recipient costs
// the hub itself.
func TestHandingOutMakesNothingPerRecipient(t *testing.T) {
	r := single(t)
	people := make([]token.Identity, 500)
	for i := range people {
		people[i] = somebody("d")
	}
	k := r.room(people...)
	for _, who := range people { // opening ones take nothing: the hub alone is measured
		r.held(who).setPhase(opening)
	}
	o := r.post(people[0], k, "x")
	r.apply(1000)
	e := r.log(o.row.pos - 1)[0]
	allocs := testing.AllocsPerRun(20, func() {
		e.Pos++
		e.Seq++
		r.s.hub.apply(cause(), []bus.Envelope{e})
	})
	if per := allocs / float64(len(people)); per > 0.2 {
		t.Errorf("%.0f allocations for %d recipients", allocs, len(people))
	}
}

// TestRepeatedPositionsAreHandedOutOnce: the relay may repeat what it is not
// sure of.
func TestRepeatedPositionsAreHandedOutOnce(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	so := r.held(bob)
	for range 5 {
		r.post(alice, k, "x")
	}
	all := r.log(0)
	for _, batch := range [][]bus.Envelope{all[:3], all[1:4], all[:4], all, all} {
		r.s.hub.apply(cause(), batch)
	}
	if len(so.held) != len(all) {
		t.Errorf("%d events, want %d", len(so.held), len(all))
	}
	for i, h := range so.held {
		if h.delivery.envelope.Pos != all[i].Pos {
			t.Errorf("place %d has position %d", i, h.delivery.envelope.Pos)
		}
	}
	if got := r.s.hub.position(); got != all[len(all)-1].Pos {
		t.Errorf("the hub is at %d", got)
	}
}

// TestAGapSendsAllToTheLog: positions that are missing close every socket with
// a code that makes it resume, and it gets nothing of what follows.
func TestAGapSendsAllToTheLog(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	r.apply(1000)
	so, c := r.connect(bob)
	r.goLiveByHand(so, &missed{}, func(string) {})
	r.post(alice, k, "lost")
	r.post(alice, k, "seen")
	all := r.log(r.s.hub.position())
	r.s.hub.apply(cause(), all[1:])
	for {
		f, err := c.Read()
		if err != nil {
			if code := ws.CloseCode(err); code != 4051 {
				t.Errorf("closed with %d, want 4051: %v", code, err)
			}
			break
		}
		if strings.Contains(string(f), "seen") {
			t.Errorf("got %s without what is before it", f)
		}
	}
	c.Drop()
}

// TestAGapWithinABatch: what came before it was handed out, what follows is not, and
// the hub stands behind all of it. An event of a kind that this version does not know
// is like one that is missing.
func TestAGapWithinABatch(t *testing.T) {
	for name, spoil := range map[string]func([]bus.Envelope) []bus.Envelope{
		"missing": func(all []bus.Envelope) []bus.Envelope { return slices.Delete(all, 1, 2) },
		"unknown": func(all []bus.Envelope) []bus.Envelope { all[1].Type = "message.sung"; return all },
	} {
		t.Run(name, func(t *testing.T) {
			r := single(t)
			alice, bob := somebody("a"), somebody("b")
			k := r.room(alice, bob)
			r.apply(1000)
			so := r.held(bob)
			for range 4 {
				r.post(alice, k, "x")
			}
			all := r.log(r.s.hub.position())
			last := all[3].Pos
			all = spoil(all)
			ready := make([]delivery, len(all))
			for i := range all {
				ready[i], _ = r.s.hub.prepare(cause(), &all[i], time.Now())
			}
			if gap := r.s.hub.handOut(ready); !gap || len(so.held) != 1 || r.s.hub.position() != last {
				t.Errorf("gap %v, %d events, at position %d, want 1 and %d", gap, len(so.held), r.s.hub.position(), last)
			}
		})
	}
}

// TestHandingOutWaitsForTheRecipients: while the database does not say who gets a
// message, what follows waits, and no socket loses anything.
func TestHandingOutWaitsForTheRecipients(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	r.apply(1000)
	so := r.held(bob)
	for range 3 {
		r.post(alice, k, "x")
	}
	all := r.log(r.s.hub.position())
	r.s.rooms.cache.InvalidateAll()
	release, busy := make(chan struct{}), make(chan struct{})
	var reads sync.WaitGroup
	for range 4 { // as many as there are
		reads.Go(func() {
			_ = r.s.db.Read(context.Background(), "test.hold", func(context.Context, *sqldb.Tx) error {
				busy <- struct{}{}
				<-release
				return nil
			})
		})
		<-busy
	}
	asked := r.misses()
	done := make(chan struct{})
	go func() { defer close(done); r.s.hub.apply(cause(), all) }()
	for r.misses() < asked+2 { // the first was in vain
		r.must(pause(cause(), time.Millisecond))
	}
	close(release)
	reads.Wait()
	<-done
	if len(so.held) != len(all) {
		t.Errorf("%d events, want %d", len(so.held), len(all))
	}
}

// TestAPanicWhileHandingOut: the lock is free again, and every socket resumes, since
// the hub stands behind what it did not hand out.
func TestAPanicWhileHandingOut(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	r.apply(1000)
	so, c := r.connect(bob)
	r.goLiveByHand(so, &missed{}, func(string) {})
	r.s.hub.users[alice.UserID] = []*socket{{s: r.s, who: alice, phase: live}} // without a connection
	r.post(bob, k, "x")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a socket without a connection did not panic")
			}
		}()
		r.apply(1000)
	}()
	if !r.s.hub.joining.TryLock() {
		t.Fatal("the lock is held")
	}
	r.s.hub.joining.Unlock()
	for {
		if _, err := c.Read(); err != nil {
			if code := ws.CloseCode(err); code != 4051 {
				t.Errorf("closed with %d, want 4051: %v", code, err)
			}
			break
		}
	}
	c.Drop()
}

// TestAfterAGapNobodyIsLookedUp: what is not handed out anyway does not wait for a
// database, and what memory holds is noted.
func TestAfterAGapNobodyIsLookedUp(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	known, unknown := r.room(alice, bob), r.room(alice, somebody("c"))
	r.post(alice, known, "x")
	r.post(alice, unknown, "x")
	all := r.log(0)
	r.s.rooms.cache.Invalidate(unknown)
	asked := r.misses()
	for i := range all {
		d, ok := r.s.hub.prepare(cause(), &all[i], time.Time{})
		if !ok || (d.room != nil) != (all[i].Key == known) || d.lacksRoom() != (all[i].Key == unknown) {
			t.Errorf("%s of %s: room %v", all[i].Type, all[i].Key, d.room)
		}
	}
	if got := r.misses(); got != asked {
		t.Errorf("%d conversations were looked up", got-asked)
	}
}

// misses is how often a conversation was not in memory.
func (r *rig) misses() int {
	r.Helper()
	w := httptest.NewRecorder()
	r.s.obs.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	m := regexp.MustCompile(`cache_requests_total\{cache="conversations",result="miss"\} (\d+)`).FindStringSubmatch(w.Body.String())
	if m == nil {
		r.Fatal("there is no such metric")
	}
	n, err := strconv.Atoi(m[1])
	r.must(err)
	return n
}

// TestOriginAndHints: the socket that sent gets nothing back; a hint reaches
// whom it names.
func TestOriginAndHints(t *testing.T) {
	r := single(t)
	alice, bob, carol := somebody("a"), somebody("b"), somebody("c")
	k := r.room(alice, bob, carol)
	r.apply(1000)
	sa, sb, sc := r.held(alice), r.held(bob), r.held(carol)
	publish := func(h hint) {
		r.s.publish(cause(), k, h)
		for _, h := range r.fanout.take() {
			r.s.hub.apply(cause(), []bus.Envelope{envelopeOf(t, k, h)})
		}
	}
	count := func(want ...int) {
		t.Helper()
		if got := []int{len(sa.held), len(sb.held), len(sc.held)}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("events %v, want %v", got, want)
		}
	}
	publish(hint{Frame: []byte(`{"op":"receipt"}`)})
	count(1, 1, 1)
	publish(hint{To: []string{bob.UserID}, Frame: []byte(`{"op":"receipt"}`)})
	count(1, 2, 1)
	publish(hint{Except: alice.UserID, Frame: []byte(`{"op":"x"}`)})
	count(1, 3, 2)
	publish(hint{Except: alice.UserID, Ephemeral: true, Frame: []byte(`{"op":"typing"}`)}) // not kept for later
	count(1, 3, 2)
	r.s.hub.apply(cause(), []bus.Envelope{{ID: id.New(), Type: typeHint, Key: k, At: time.Now(), Payload: []byte(`{"frame":`)}})
	count(1, 3, 2)
}

// TestLeavingIsForgotten: sockets come and go in any order, and the hub keeps none.
func TestLeavingIsForgotten(t *testing.T) {
	r := single(t)
	rapid.Check(t, func(t *rapid.T) {
		r.tester = t
		users := []token.Identity{somebody("a"), somebody("b")}
		present := map[*socket]bool{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if len(present) > 0 && rapid.Bool().Draw(t, "leave") {
				for so := range present {
					r.s.hub.leave(so)
					delete(present, so)
					break
				}
				continue
			}
			who := rapid.SampledFrom(users).Draw(t, "who")
			who.SessionID = fmt.Sprint(who.UserID, rapid.IntRange(0, 2).Draw(t, "session"))
			so := &socket{s: r.s, who: who}
			replaced, ok := r.s.hub.admit(so, 3)
			if replaced != nil && !present[replaced] {
				t.Fatal("a socket was replaced that had left")
			}
			delete(present, replaced)
			if !ok {
				t.Fatal("three sessions fit within three")
			}
			if replaced != nil && r.s.hub.join(replaced, func(int64) {}) {
				t.Fatal("a replaced socket joined")
			}
			if rapid.Bool().Draw(t, "join") && !r.s.hub.join(so, func(int64) {}) {
				t.Fatal("an admitted socket may join")
			}
			present[so] = true
			if r.s.hub.open() != len(present) {
				t.Fatalf("%d open, want %d", r.s.hub.open(), len(present))
			}
		}
		for so := range present {
			r.s.hub.leave(so)
			r.s.hub.leave(so)
		}
		if len(r.s.hub.users) != 0 || len(r.s.hub.sessions) != 0 || len(r.s.hub.admitted) != 0 {
			t.Fatalf("%d users and %d sessions are left", len(r.s.hub.users), len(r.s.hub.sessions))
		}
	})
	r.tester = t
	full := somebody("x")
	for range 3 {
		full.SessionID = id.New()
		r.s.hub.admit(&socket{s: r.s, who: full}, 3)
	}
	full.SessionID = id.New()
	if _, ok := r.s.hub.admit(&socket{s: r.s, who: full}, 3); ok {
		t.Error("a fourth socket was admitted where three may")
	}
}

// What cannot be handed out has a reason: a message as a delivery, a hint as an event.
func TestWhatCannotBeHandedOutHasItsReason(t *testing.T) {
	r := single(t)
	away, broken := fault.New(fault.CodeUnavailable, ""), errors.New("a defect")
	for _, c := range []struct {
		e      bus.Envelope
		err    error
		family string
		reason string
	}{
		{bus.Envelope{Type: typeMessage, Pos: 1}, away, "message_delivery_failures_total", "unavailable"},
		{bus.Envelope{Type: typeMessage, Pos: 2}, broken, "message_delivery_failures_total", "unknown"},
		{bus.Envelope{Type: typeHint}, away, "event_failures_total", "unavailable"},
		{bus.Envelope{Type: typeHint}, broken, "event_failures_total", "malformed"},
	} {
		want := maps.Clone(r.series(c.family))
		want[c.reason]++
		r.s.hub.drop(cause(), &c.e, c.err)
		if diff := cmp.Diff(want, r.series(c.family)); diff != "" {
			t.Errorf("%s, %v: %s", c.e.Type, c.err, diff)
		}
	}
}
