package messaging

import (
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// A message that a socket sends comes back to it as sent, and never as a
// message event. Live, the hub sees to that: an event names the socket that it
// came from, also when the relay has to read it from the database (origins).
// Two other ways are closed here: catching up, which reads what this
// very socket sends meanwhile (for the first time or again); and a repeat whose
// first sending, on an earlier socket of the device, is still on its way
// through the hub.

// ownSends are the sends of a socket that something else might hand back.
type ownSends struct {
	passed map[string]*ownSend // by client_msg_id: sends since catching up began
	echoes map[int64]bool      // positions that the hub will still hand out
}

type ownSend struct {
	passed   bool // catching up passed the message by
	answered bool
}

// settle forgets the sends that are answered, once catching up is over.
func (o *ownSends) settle() {
	for id, s := range o.passed {
		if s.answered {
			delete(o.passed, id)
		}
	}
}

// sending notes a send before it is committed.
func (so *socket) sending(clientMsgID string) {
	so.mu.Lock()
	defer so.mu.Unlock()
	if so.phase != catching && so.phase != holding {
		return
	}
	if so.own.passed == nil {
		so.own.passed = map[string]*ownSend{}
	}
	if so.own.passed[clientMsgID] == nil {
		so.own.passed[clientMsgID] = &ownSend{}
	}
}

// isOwn says whether catching up must pass a message by, and notes that it
// does; so.mu is held.
func (so *socket) isOwn(r *row) bool {
	if r.sender != so.who.UserID || r.device != so.who.DeviceID {
		return false
	}
	s := so.own.passed[r.clientMsgID]
	if s == nil {
		return false
	}
	s.passed = true
	return true
}

// sent notes that a send is about to be answered. The conversation is one of
// those that pong tells of.
func (so *socket) sent(o *outcome) {
	so.mu.Lock()
	defer so.mu.Unlock()
	so.markOf(o.row.conversation, o.row.seq-1)
	if s := so.own.passed[o.row.clientMsgID]; s != nil {
		s.answered = true
		if so.phase == live {
			delete(so.own.passed, o.row.clientMsgID)
		}
	}
	if o.repeat && o.row.pos > so.s.hub.position() {
		if so.own.echoes == nil {
			so.own.echoes = map[int64]bool{}
		}
		so.own.echoes[o.row.pos] = true
	}
}

// isEcho says whether the hub hands back what this socket was answered as a
// repeat; so.mu is held.
func (so *socket) isEcho(d *delivery) bool {
	if len(so.own.echoes) == 0 || !so.own.echoes[d.envelope.Pos] {
		return false
	}
	delete(so.own.echoes, d.envelope.Pos)
	return true
}

// unsent notes that a send was refused. If catching up has passed an earlier
// message of the same identifier by, the device would miss that: it has to
// resume.
func (so *socket) unsent(clientMsgID string) {
	so.mu.Lock()
	s := so.own.passed[clientMsgID]
	delete(so.own.passed, clientMsgID)
	missed := s != nil && s.passed && !s.answered
	so.mu.Unlock()
	if missed {
		so.conn.Close(obs.CloseResync, "resume")
	}
}

// catchUpWith queues a missed message, unless the socket sent it itself; false
// if the socket has closed. Looking and queueing are one step, so that a send
// cannot come between.
func (so *socket) catchUpWith(r *row) bool {
	so.mu.Lock()
	defer so.mu.Unlock()
	if so.isOwn(r) {
		return true
	}
	so.track(r.conversation, r.seq, time.Now())
	return so.conn.Queue(messageFrame(r.correlation, encodeMessage(so.s.ids.id(r.pos, r.created), r), time.Now()))
}

// origins remembers which socket the latest messages came from. A row does not
// say: sockets do not outlive the process.
type origins struct {
	mu   sync.Mutex
	ring [originsKept]origin
}

const originsKept = 1 << 13

type origin struct {
	pos     int64
	message clientKey
	socket  string
}

// note remembers the origin of a position that is being taken. If its
// transaction fails, another message takes the position: one of this process
// takes its place here too, one of another process does not, so the message is
// remembered with it.
func (o *origins) note(r *row, socket string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ring[r.pos%originsKept] = origin{r.pos, r.client(), socket}
}

// of gives the socket that a message came from, "" if it is not known or there
// is none.
func (o *origins) of(r *row) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at := &o.ring[r.pos%originsKept]; at.pos == r.pos && at.message == r.client() {
		return at.socket
	}
	return ""
}
