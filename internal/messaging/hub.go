package messaging

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/ws"
)

// Types of what travels. Those with a position are in the log; hints are not,
// and may be lost. An opened socket is told by the one or the other.
const (
	typeMessage = "message.sent"
	typeCreated = "conversation.created"
	typeChanged = "conversation.changed"
	typeHint    = "hint"
	typeOpened  = "socket.opened"
)

// hub hands what is committed to this node's sockets, in the order of positions.
type hub struct {
	s *Service

	// joining is held shared while a batch is handed out and alone while a
	// socket joins, so that a socket joins between two positions, never within.
	joining  sync.RWMutex
	applied  atomic.Int64         // greatest position handed out; moved while joining is held shared
	users    map[string][]*socket // that have joined
	sessions map[string]*socket   // that are authenticated, joined or not
	admitted map[string]int       // sockets of a user in sessions
}

func newHub(s *Service) *hub {
	return &hub{s: s, users: map[string][]*socket{}, sessions: map[string]*socket{}, admitted: map[string]int{}}
}

// lag is how many committed positions were not handed out yet: of messages and
// of everything else that takes one.
func (h *hub) lag() float64 {
	applied := h.applied.Load() // first: a batch that is handed out meanwhile is no lag
	return float64(max(0, h.s.outbox.End()-applied))
}

// open is the number of authenticated sockets.
func (h *hub) open() int {
	h.joining.RLock()
	defer h.joining.RUnlock()
	return len(h.sessions)
}

// delivery is an envelope that is ready to be handed out: everything that may
// wait for the database is done before the lock is taken.
type delivery struct {
	envelope *bus.Envelope
	room     *room
	frame    *ws.Frame
	hint     *hint
	sockets  int // that it was handed to
}

// lacksRoom says that an event of the log has no recipients, since they could not be
// found.
func (d *delivery) lacksRoom() bool {
	return d.envelope.Pos != 0 && d.envelope.Key != "" && d.room == nil
}

// apply hands out a batch. Batches with positions come from one goroutine at a
// time, the relay's; hints may come from any.
func (h *hub) apply(ctx context.Context, batch []bus.Envelope) {
	ready := make([]delivery, 0, len(batch))
	until := time.Now().Add(roomPatience)
	for i := range batch {
		d, ok := h.prepare(ctx, &batch[i], until)
		if ok {
			ready = append(ready, d)
		}
		if d.lacksRoom() {
			until = time.Time{} // nothing is handed out from here on
		}
	}
	gap := true // also if it panics
	defer func() {
		if gap {
			h.resyncAll(ctx)
		}
	}()
	gap = h.handOut(ready)
	h.s.sockets.Kick()
	for i := range ready {
		h.trace(ctx, &ready[i])
	}
	h.s.obs.Metrics.QueueConsumed.Add(obs.QueueFanout, len(batch))
}

// handOut says whether there was a gap. Nothing is handed out after one, or a socket
// would have what follows without what is missing.
func (h *hub) handOut(ready []delivery) (gap bool) {
	h.joining.RLock()
	defer h.joining.RUnlock()
	for i := range ready {
		gap = !h.note(&ready[i]) || gap
		if !gap {
			h.deliver(&ready[i])
		}
	}
	return gap
}

// trace tells of a message that reached this node's sockets, in one line for
// all of them. A line that is sampled away is not built.
func (h *hub) trace(ctx context.Context, d *delivery) {
	e := d.envelope
	if d.sockets == 0 || e.Type != typeMessage || !h.s.obs.Sample(obs.SiteDeliver) {
		return
	}
	h.s.log.LogAttrs(obs.WithCorrelation(ctx, e.Correlation), slog.LevelInfo, "message handed to sockets", slog.String("op", "messaging.deliver"),
		slog.String("conversation_id", e.Key), slog.Int64("seq", e.Seq), slog.Int("sockets", d.sockets))
}

func (h *hub) prepare(ctx context.Context, e *bus.Envelope, until time.Time) (d delivery, ok bool) {
	d.envelope = e
	if e.Type == typeHint {
		d.hint = new(hint)
		if err := json.Unmarshal(e.Payload, d.hint); err != nil {
			h.drop(ctx, e, err)
			return d, false
		}
		d.frame = ws.NewFrame(d.hint.Frame, d.hint.kind(), e.At)
	}
	if e.Key != "" {
		r, err := h.room(ctx, e, until)
		if err != nil {
			h.drop(ctx, e, err)
		}
		if r == nil {
			return d, e.Pos != 0 // its position counts all the same
		}
		d.room = r
	}
	switch e.Type {
	case typeMessage:
		d.frame = messageFrame(e.Correlation, e.Payload, e.At)
	case typeCreated, typeChanged:
		d.frame = conversationFrame(e)
	case typeOpened:
		h.announced(obs.WithCorrelation(ctx, e.Correlation), e)
	}
	return d, true
}

// roomPatience is how long a batch with positions waits for the recipients of its
// events. What follows it waits as long, and usually for the same database.
const (
	roomPatience = 30 * time.Second
	roomEvery    = 100 * time.Millisecond // between tries; every socket waits
)

// room finds who gets an event. One that is in the log waits for a database that
// does not answer: without it every socket would have to fetch what it misses. If
// until is zero only memory is asked, and nil is no error.
func (h *hub) room(ctx context.Context, e *bus.Envelope, until time.Time) (*room, error) {
	r, ok := h.s.rooms.known(e.Key)
	if ok || until.IsZero() {
		return r, nil
	}
	ctx = obs.WithCorrelation(ctx, e.Correlation)
	r, err := h.s.rooms.get(ctx, e.Key)
	if err == nil || e.Pos == 0 || !away(err) {
		return r, err
	}
	h.s.log.LogAttrs(ctx, slog.LevelWarn, "handing out waits for the recipients", slog.String("conversation_id", e.Key), obs.Cause(err))
	patient, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for err != nil && away(err) && pause(patient, roomEvery) == nil {
		r, err = h.s.rooms.get(ctx, e.Key)
	}
	return r, err
}

// away says of an error that the database did not answer, or that nobody waited for
// it, as when the process ends.
func away(err error) bool {
	kind := fault.CodeOf(err).Kind()
	return kind == fault.Unavailable || kind == fault.Timeout || kind == fault.Canceled
}

// drop counts a delivery that could not be made. A message is in the log, but the
// sockets must learn that they miss something, so they are sent to fetch it. What a
// hint tells can be read again.
func (h *hub) drop(ctx context.Context, e *bus.Envelope, err error) {
	ctx = obs.WithCorrelation(ctx, e.Correlation)
	reason, lost := obs.DeliveryUnknown, obs.BusMalformed
	if away(err) {
		reason, lost = obs.DeliveryUnavailable, obs.BusUnavailable
	}
	if e.Pos == 0 {
		h.s.obs.Metrics.EventFailures.Inc(lost)
		h.s.log.LogAttrs(ctx, slog.LevelWarn, "a hint was lost", slog.String("reason", lost.String()), obs.Cause(err))
		return
	}
	h.s.obs.Metrics.DeliveryFailures.Inc(reason)
	h.s.log.LogAttrs(ctx, slog.LevelError, "could not hand out", slog.String("type", e.Type), slog.Int64("pos", e.Pos), slog.String("reason", reason.String()), obs.Cause(err))
}

// note moves the position, and notes a message in its room; false if positions
// before it are missing or its recipients could not be found. What was handed out
// already loses its recipients.
func (h *hub) note(d *delivery) bool {
	e := d.envelope
	if e.Pos == 0 {
		return true
	}
	applied := h.applied.Load()
	if e.Pos <= applied {
		d.room = nil // a repeat
		return true
	}
	h.applied.Store(e.Pos)
	if e.Type == typeMessage && d.room != nil {
		sender, _ := d.room.find(string(messageSender(e.Payload)))
		d.room.applied(trace{e.Seq, sender.user, e.At})
	}
	follows := e.Pos == applied+1 || mutant.NoGapDetector || mutant.PositionEarly
	return follows && (e.Type == typeOpened || d.frame != nil && d.room != nil)
}

// deliver hands out one envelope.
func (h *hub) deliver(d *delivery) {
	if d.hint != nil && d.hint.To != nil {
		for _, user := range d.hint.To {
			h.toUser(user, d)
		}
		return
	}
	if d.room == nil {
		return
	}
	for i := range d.room.members {
		h.toUser(d.room.members[i].user, d)
	}
}

func (h *hub) toUser(user string, d *delivery) {
	if d.hint != nil && d.hint.Except == user {
		return
	}
	for _, so := range h.users[user] {
		if d.envelope.Origin == "" || so.conn.ID() != d.envelope.Origin {
			d.sockets++
			so.deliver(d)
		}
	}
}

// resyncAll closes every socket with a resumable code: each then fetches from
// the log what this node missed.
func (h *hub) resyncAll(ctx context.Context) {
	h.s.log.LogAttrs(ctx, slog.LevelWarn, "positions are missing; all sockets resume from the log", slog.String("reason", obs.CloseResync.String()))
	for _, so := range h.all() {
		so.conn.Close(obs.CloseResync, "resume")
	}
}

func (h *hub) all() []*socket {
	h.joining.RLock()
	defer h.joining.RUnlock()
	list := make([]*socket, 0, len(h.sessions))
	for _, so := range h.sessions {
		list = append(list, so)
	}
	return list
}

// admit takes a socket in as soon as it is authenticated: from then on it is
// found when its session ends, when another takes its place, and by the drain.
// The socket that had the session before, if any, is returned; too many sockets
// of one user refuse.
func (h *hub) admit(so *socket, limit int) (replaced *socket, ok bool) {
	h.joining.Lock()
	defer h.joining.Unlock()
	replaced = h.sessions[so.who.SessionID]
	if replaced != nil {
		h.remove(replaced)
	}
	if h.admitted[so.who.UserID] >= limit {
		return replaced, false
	}
	h.sessions[so.who.SessionID] = so
	h.admitted[so.who.UserID]++
	return replaced, true
}

// join gives an admitted socket everything that is handed out from now on.
// before runs while nothing is handed out and gets the position after which
// that is. It is false for a socket that was removed meanwhile.
func (h *hub) join(so *socket, before func(applied int64)) bool {
	h.joining.Lock()
	defer h.joining.Unlock()
	if h.sessions[so.who.SessionID] != so {
		return false
	}
	before(h.applied.Load())
	h.users[so.who.UserID] = append(h.users[so.who.UserID], so)
	return true
}

// leave removes a socket; it may be called for one that was never admitted.
func (h *hub) leave(so *socket) {
	h.joining.Lock()
	defer h.joining.Unlock()
	h.remove(so)
}

func (h *hub) remove(so *socket) {
	if h.sessions[so.who.SessionID] == so {
		delete(h.sessions, so.who.SessionID)
		if h.admitted[so.who.UserID]--; h.admitted[so.who.UserID] == 0 {
			delete(h.admitted, so.who.UserID)
		}
	}
	list := h.users[so.who.UserID]
	for i := range list {
		if list[i] == so {
			if len(list) == 1 {
				delete(h.users, so.who.UserID)
				return
			}
			rest := make([]*socket, 0, len(list)-1)
			h.users[so.who.UserID] = append(append(rest, list[:i]...), list[i+1:]...)
			return
		}
	}
}

// position is the greatest position handed out.
func (h *hub) position() int64 { return h.applied.Load() }

// revoke closes the sockets of a session that has ended.
func (h *hub) revoke(sessionID string) {
	h.joining.RLock()
	so := h.sessions[sessionID]
	h.joining.RUnlock()
	if so != nil {
		so.conn.Close(obs.CloseRevoked, "session ended")
	}
}
