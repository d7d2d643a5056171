package messaging

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/ws"
)

// flood commits n messages and hands them to the hub.
func (r *rig) flood(who token.Identity, conversation string, n, size int) {
	r.Helper()
	var refused atomic.Int64
	body := strings.Repeat("x", size)
	for range n {
		r.s.send(cause(), by(who), Draft{conversation, id.New(), body}, "", func(_ outcome, err error) {
			if err != nil {
				refused.Add(1)
			}
		})
	}
	r.settle()
	if n := refused.Load(); n > 0 {
		r.Fatalf("%d sends were refused", n)
	}
	r.apply(10_000)
}

// holding connects who to where the last page is sent and events are held back.
// What the socket gets is read all the while, up to an ok.
func (r *rig) holding(who token.Identity, has map[string]int64) (c *catcher, got <-chan []frame) {
	r.Helper()
	so, client := r.connect(who)
	if _, ok := r.s.hub.admit(so, 1<<20); !ok {
		r.Fatal("the socket is not admitted")
	}
	so.setPhase(catching)
	c = &catcher{so: so, missed: &missed{from: has, known: true}}
	r.must(c.toward(cause(), r.s.hub.position()))
	if _, ok := c.join(); !ok {
		r.Fatal("the socket may not join")
	}
	return c, r.reading(client)
}

// reading takes what comes until ok, or until the socket closes.
func (r *rig) reading(client *ws.Client) <-chan []frame {
	got := make(chan []frame, 1)
	go func() {
		defer client.Drop()
		var list []frame
		for len(list) == 0 || list[len(list)-1].Op != "ok" {
			b, err := client.Read()
			var f frame
			if err == nil {
				err = json.Unmarshal(b, &f)
			}
			if err != nil {
				list = append(list, frame{Op: err.Error()})
				break
			}
			list = append(list, f)
		}
		got <- list
	}()
	return got
}

// goLive goes on until the socket is live, and gives what came, of which live
// must be the last.
func (r *rig) goLive(c *catcher, got <-chan []frame) []frame {
	r.Helper()
	isLive, err := c.release(cause())
	for !isLive {
		r.must(err)
		isLive, err = c.round(cause())
	}
	if so := c.so; so.phase != live || so.held != nil || so.heldBytes != 0 {
		r.Errorf("phase %d with %d frames of %d bytes held", so.phase, len(so.held), so.heldBytes)
	}
	c.so.conn.Send(okFrame("end", "c"))
	list := <-got
	if n := len(list); n < 2 || list[n-1].Op != "ok" || list[n-2].Op != "live" {
		r.Errorf("the end is %v", list[max(0, n-2):])
	}
	return list
}

// TestWhatIsHeldBackIsHandedOverAsItIsTaken: as much as may be held back goes
// through a queue that is half full already.
func TestWhatIsHeldBackIsHandedOverAsItIsTaken(t *testing.T) {
	for name, c := range map[string]struct{ behind, during, size int }{
		"many":  {catchUpPage - 1, queueBytes / 512, 1},
		"large": {7, queueBytes/maxBody - 1, maxBody},
	} {
		t.Run(name, func(t *testing.T) {
			r := single(t)
			alice, bob := somebody("a"), somebody("b")
			k := r.room(alice, bob)
			r.flood(alice, k, c.behind, c.size)
			catcher, got := r.holding(bob, map[string]int64{k: 0})
			r.flood(alice, k, c.during, c.size)
			if n := len(catcher.so.held); n != c.during {
				t.Fatalf("%d events are held back, want %d", n, c.during)
			}
			r.wantOnce(r.goLive(catcher, got), k, 1, int64(c.behind+c.during))
		})
	}
}

// TestTooMuchIsNotHeldBack: beyond the bounds nothing is held, and nothing lost:
// the socket reads on in the log.
func TestTooMuchIsNotHeldBack(t *testing.T) {
	for name, c := range map[string]struct{ hints, messages, size int }{
		"bytes of many":  {0, queueFrames, 1},
		"bytes of large": {0, queueBytes/maxBody + 1, maxBody},
		"frames":         {queueFrames, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := single(t)
			alice, bob := somebody("a"), somebody("b")
			k := r.room(alice, bob)
			r.flood(alice, k, 3, 1)
			catcher, got := r.holding(bob, map[string]int64{k: 1})
			hints := make([]bus.Envelope, c.hints)
			for i := range hints {
				hints[i] = envelopeOf(t, k, hint{To: []string{bob.UserID}, Frame: []byte(`{"op":"receipt"}`)})
			}
			r.s.hub.apply(cause(), hints)
			if n := len(catcher.so.held); n != c.hints {
				t.Fatalf("%d events are held back, want %d", n, c.hints)
			}
			r.flood(alice, k, c.messages, c.size)
			if so := catcher.so; so.phase != catching || so.held != nil || so.heldBytes != 0 {
				t.Fatalf("phase %d with %d frames of %d bytes held", so.phase, len(so.held), so.heldBytes)
			}
			r.wantOnce(r.goLive(catcher, got), k, 2, int64(3+c.messages))
		})
	}
}

// TestTooMuchInTheMiddleOfHandingOver: what was handed over before it became too
// much does not come again from the log, and what follows it is not missed. A
// conversation that began while events were held back is no exception.
func TestTooMuchInTheMiddleOfHandingOver(t *testing.T) {
	r := single(t)
	alice, bob, carol := somebody("a"), somebody("b"), somebody("c")
	k := r.room(alice, bob)
	r.apply(10)
	c, got := r.holding(bob, map[string]int64{k: 0})
	made := r.room(carol, bob)
	r.flood(carol, made, 5, 1)
	r.flood(alice, k, 3*catchUpPage, 1)
	if isLive, more := c.handOver(); isLive || !more {
		t.Fatal("the queue takes everything at once")
	}
	if left := len(c.so.held); left == 0 || left >= 3*catchUpPage {
		t.Fatalf("%d events are still held back", left)
	}
	bytes := 0
	for _, h := range c.so.held {
		bytes += h.delivery.frame.Len()
	}
	if c.so.heldBytes != bytes {
		t.Errorf("%d bytes are counted, %d held", c.so.heldBytes, bytes)
	}
	r.flood(alice, k, queueFrames, 1)
	if c.so.phase != catching {
		t.Fatalf("phase %d", c.so.phase)
	}
	r.flood(carol, made, 5, 1)
	list := r.goLive(c, got)
	r.wantOnce(list, k, 1, 3*catchUpPage+queueFrames)
	r.wantOnce(list, made, 1, 10)
}

// TestASocketThatEndsWhileEventsAreHeldBack is not waited for.
func TestASocketThatEndsWhileEventsAreHeldBack(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	r.apply(10)
	c, got := r.holding(bob, map[string]int64{k: 0})
	r.flood(alice, k, 3*catchUpPage, 1)
	c.so.conn.Close(obs.CloseReplaced, "")
	<-got
	for !c.so.isGone() {
		r.must(pause(t.Context(), time.Millisecond))
	}
	if isLive, err := c.release(cause()); isLive || err != nil {
		t.Errorf("a socket that has ended is live: %v, or fails: %v", isLive, err)
	}
	if _, ok := c.join(); ok {
		t.Error("a socket that has ended joins again")
	}
}

// TestAReplacedSocketIsClosedAsThat: catching up notices first that another
// socket has taken the place, and leaves the closing to that one: with any other
// code the client would come back and replace its successor.
func TestAReplacedSocketIsClosedAsThat(t *testing.T) {
	r := single(t)
	bob := somebody("b")
	so, client := r.connect(bob)
	r.s.hub.admit(so, 1<<20)
	so.setPhase(catching)
	if replaced, _ := r.s.hub.admit(&socket{s: r.s, who: bob}, 1<<20); replaced != so {
		t.Fatal("the socket is not replaced")
	}
	so.catchUp(cause(), &missed{known: true})
	so.conn.Close(obs.CloseReplaced, "")
	_, err := client.Read()
	if code := ws.CloseCode(err); code != 4409 {
		t.Errorf("closed with %d, want 4409: %v", code, err)
	}
	client.Drop()
}
