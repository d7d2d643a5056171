package messaging

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/ws"
)

// TestASocketElsewhereReplacesThisOne: of two sockets of a session on two nodes
// the later one stays, and both nodes come to the same end.
func TestASocketElsewhereReplacesThisOne(t *testing.T) {
	r := single(t)
	alice := somebody("laptop")
	so, c := r.connect(alice)
	if !so.admit() {
		t.Fatal("not admitted")
	}
	tell := func(o opened) {
		payload, err := json.Marshal(o)
		r.must(err)
		r.s.hear(cause(), []bus.Envelope{{ID: id.New(), Type: typeOpened, At: time.Now(), Correlation: "test-123", Payload: payload}})
	}
	own := so.asOpened()
	tell(own)
	tell(opened{own.Session, "elsewhere", own.At - 1})
	tell(opened{id.New(), "elsewhere", own.At + 1})
	tell(opened{own.Session, "", own.At})
	r.s.hear(cause(), []bus.Envelope{{ID: id.New(), Type: typeOpened, Correlation: "test-123", Payload: []byte("{")}})
	so.conn.Send(liveFrame)
	if f, err := c.Read(); err != nil || string(f) != `{"op":"live"}` {
		t.Fatalf("the earlier one, its own and another session's: %s, %v", f, err)
	}
	// The node of an earlier one is told of this one, however late it admitted it.
	if got := r.announced(2); got[0] != own || got[1] != own {
		t.Errorf("announced %v, want %v twice", got, own)
	}
	tell(opened{own.Session, "zzz", own.At}) // at the same moment: by name
	if _, err := c.Read(); ws.CloseCode(err) != 4409 {
		t.Errorf("a later one: %v", err)
	}
}

// TestASocketIsToldOfByTheLog: while hints do not get through, in its place among
// the positions, and nobody is sent to resume for it.
func TestASocketIsToldOfByTheLog(t *testing.T) {
	r := single(t)
	alice, bob := somebody("laptop"), somebody("phone")
	k := r.room(alice, bob)
	r.apply(1000)
	so, c := r.connect(alice)
	other, otherClient := r.connect(bob)
	if !so.admit() {
		t.Fatal("not admitted")
	}
	r.goLiveByHand(other, &missed{}, func(string) {})
	r.fanout.away = true
	other.announce(cause())
	r.post(alice, k, "after it")
	list := r.log(r.s.hub.position())
	if len(list) != 2 || list[0].Type != typeOpened || list[1].Type != typeMessage {
		t.Fatalf("in the log: %+v", list)
	}
	elsewhere := so.asOpened()
	elsewhere.Socket, elsewhere.At = "elsewhere", elsewhere.At+1
	payload, err := json.Marshal(elsewhere)
	r.must(err)
	list[0].Payload = payload
	r.s.hub.apply(cause(), list)
	if _, err := c.Read(); ws.CloseCode(err) != 4409 {
		t.Errorf("the replaced one: %v", err)
	}
	other.conn.Send(okFrame("end", "c"))
	r.wantOnce(r.frames(otherClient, "ok"), k, 1, 1)
	if got := r.s.hub.position(); got != list[1].Pos {
		t.Errorf("applied %d of %d", got, list[1].Pos)
	}
}

// announced waits for that many announcements of this node.
func (r *rig) announced(n int) []opened {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		r.fanout.mu.Lock()
		list := slices.Clone(r.fanout.opened)
		r.fanout.mu.Unlock()
		if len(list) >= n {
			return list
		}
		r.must(pause(ctx, time.Millisecond))
	}
}
