package messaging

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/messaging/inbound"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/ws"
)

// missed is what a socket has to be sent before it is live.
type missed struct {
	from      map[string]int64 // conversation -> the sequence that the device has
	known     bool             // the device has acknowledged something before
	beginning int64            // the position at which it came, if that is known
	resync    []*ws.Frame      // what it must reload over REST instead
	refused   error            // a named conversation that is not the user's
}

// nothing says that the socket may become live at once.
func (m *missed) nothing() bool { return !m.known && len(m.from) == 0 && len(m.resync) == 0 }

// plan finds out what a device has: what it says in resume, else what it has
// acknowledged. A device that never acknowledged anything starts with what
// comes now; a known one gets the conversations that were made while it was
// away from their first visible message.
func (so *socket) plan(ctx context.Context, r *inbound.Resume) (*missed, error) {
	m := &missed{}
	if r != nil && r.Epoch != so.s.epoch {
		m.resync = append(m.resync, resyncFrame("epoch", ""))
		so.since = max(1, so.s.hub.position())
		return m, nil
	}
	marks, err := so.s.readMarks(ctx, so.who)
	if err != nil {
		return nil, err
	}
	m.known = len(marks) > 0
	m.beginning = marks[beginning]
	delete(marks, beginning)
	m.from = marks
	if !m.known {
		so.since = max(1, so.s.hub.position())
	}
	so.mu.Lock()
	for conversation, seq := range marks {
		if so.marks == nil {
			so.marks = make(map[string]*mark, len(marks))
		}
		so.marks[conversation] = &mark{acked: seq, has: seq}
	}
	so.mu.Unlock()
	if r == nil {
		return m, nil
	}
	for conversation, seq := range r.Conversations {
		if err := so.named(ctx, m, conversation, seq); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// named takes one conversation of resume into the plan.
func (so *socket) named(ctx context.Context, m *missed, conversation string, seq int64) error {
	r, err := so.s.visible(ctx, so.who.UserID, conversation)
	if err != nil {
		if f := fault.From(err); f.Code.Kind() == fault.NotFound || f.Code.Kind() == fault.Invalid {
			m.refused = f
			return nil
		}
		return err
	}
	last, err := so.s.lastSeq(ctx, r, seq)
	if err != nil {
		return err
	}
	if m.from == nil {
		m.from = map[string]int64{}
	}
	if seq < 0 || seq > last { // from a future that this store does not have
		m.resync = append(m.resync, resyncFrame("epoch", conversation))
		m.from[conversation] = last // it reloads the rest; that it has it nobody said
		return nil
	}
	m.from[conversation] = seq
	if mutant.ResumeTooLate {
		m.from[conversation] = seq + 1
	}
	so.resumed(ctx, conversation, seq)
	return nil
}

// resumed takes the prefix that resume names as what it is: an acknowledgement.
func (so *socket) resumed(ctx context.Context, conversation string, seq int64) {
	if after, _, moved := so.acked(conversation, seq); moved {
		so.s.marks.add(deviceMark{so.who.UserID, so.who.DeviceID, conversation}, gathered{after, seq, so.takeSince(), obs.CorrelationFrom(ctx)})
	}
	so.mu.Lock()
	defer so.mu.Unlock()
	so.marks[conversation].has = seq // also below what it acknowledged: it says so
}

// lastSeq is the end of a conversation; memory is asked first, and believed if
// it has at least seq.
func (s *Service) lastSeq(ctx context.Context, r *room, seq int64) (last int64, err error) {
	if last = r.last(); last >= seq {
		return last, nil
	}
	err = s.db.Read(ctx, "messaging.last_seq", func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, selectLastSeq, r.no).Scan(&last)
	})
	return last, err
}

func resyncFrame(reason, conversation string) *ws.Frame {
	b := appendPlain([]byte(`{"op":"resync","reason":`), reason)
	if conversation != "" {
		b = appendPlain(append(b, `,"conversation_id":`...), conversation)
	}
	return ws.NewFrame(append(b, '}'), ws.Control, time.Time{})
}

// catchUp sends what was missed, page by page as the client takes it, and then
// lets the socket join.
func (so *socket) catchUp(ctx context.Context, m *missed) {
	for _, f := range m.resync {
		so.conn.Send(f)
	}
	c := catcher{so: so, missed: m}
	isLive, err := false, error(nil)
	for !isLive && err == nil && !so.isGone() {
		isLive, err = c.round(ctx)
	}
	if isLive {
		so.established(ctx)
		return
	}
	// One that has ended or was replaced is closed by whoever did that, with the
	// reason for it.
	if err != nil && !errors.Is(err, errGone) && !so.isGone() {
		so.s.log.LogAttrs(ctx, slog.LevelWarn, "catching up failed", slog.String("user_id", so.who.UserID), slog.String("reason", fault.CodeOf(err).String()), obs.Cause(err))
		so.conn.Close(obs.CloseOverloaded, "try again later")
	}
}

func (so *socket) isGone() bool {
	so.mu.Lock()
	defer so.mu.Unlock()
	return so.phase == gone
}

// catcher pages through the log for one socket.
type catcher struct {
	so     *socket
	missed *missed
	done   int64 // everything up to this position was sent
	joined bool  // the hub has the socket
}

// round pages up to where the hub is; when that is close the socket joins, so
// that events are held back from then on, gets the short rest, then what was held
// back, then live. It has to be done again if too much came in the meantime.
func (c *catcher) round(ctx context.Context) (isLive bool, err error) {
	if mutant.ReadBeforeJoin {
		return c.readAndJoin(ctx)
	}
	for range 2 {
		if err := c.toward(ctx, c.so.s.hub.position()); err != nil {
			return false, err
		}
	}
	joined, ok := c.join()
	if !ok {
		return false, errGone
	}
	if err := c.toward(ctx, joined); err != nil {
		return false, err
	}
	return c.release(ctx)
}

// toward sends everything up to a position.
func (c *catcher) toward(ctx context.Context, upTo int64) error {
	if upTo <= c.done {
		return nil
	}
	var stands []stand
	err := c.so.s.db.Read(ctx, "messaging.stands", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		stands, err = readStands(ctx, tx, c.so.who.UserID, c.done)
		return err
	})
	if err != nil {
		return err
	}
	for _, st := range stands {
		if err := c.conversation(ctx, st, upTo); err != nil {
			return err
		}
	}
	c.done = upTo
	return nil
}

const catchUpPage = 64

// conversation sends what is missing of one conversation, up to a position.
func (c *catcher) conversation(ctx context.Context, st stand, upTo int64) error {
	from, ok := c.missed.from[st.conversation]
	switch {
	case !ok && c.missed.known && st.no <= c.missed.beginning: // older than the device
		at, err := c.seqAt(ctx, st, c.missed.beginning)
		if err != nil {
			return err
		}
		from = at
	case !ok && c.missed.known, !ok && c.done > 0:
		from = st.firstSeq // made while the device was away, or while it caught up
	case !ok: // a device that is new to this starts now: what is committed may be further
		at, err := c.seqAt(ctx, st, upTo)
		if err != nil {
			return err
		}
		from = at
	}
	from = max(from, st.firstSeq)
	for from < st.lastSeq {
		var rows []row
		err := c.so.s.db.Read(ctx, "messaging.catch_up", func(ctx context.Context, tx *sqldb.Tx) (err error) {
			rows, err = readStretch(ctx, tx, st.no, from, from+catchUpPage)
			return err
		})
		if err != nil {
			return err
		}
		if len(rows) == 0 { // a gap, which nothing should have made
			from = min(from+catchUpPage, st.lastSeq)
			continue
		}
		n := len(rows)
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.pos > upTo })
		for i := range rows {
			if err := c.message(ctx, &rows[i]); err != nil {
				return err
			}
			from = rows[i].seq
		}
		if len(rows) < n {
			break
		}
	}
	c.has(st.conversation, from)
	return nil
}

// has notes how far a conversation was sent. What the hub hands out may lie
// before what the device has from elsewhere.
func (c *catcher) has(conversation string, seq int64) {
	if c.missed.from == nil {
		c.missed.from = map[string]int64{}
	}
	c.missed.from[conversation] = max(seq, c.missed.from[conversation])
}

// seqAt is where a conversation stood at a position.
func (c *catcher) seqAt(ctx context.Context, st stand, pos int64) (seq int64, err error) {
	if st.lastPos <= pos {
		return st.lastSeq, nil
	}
	err = c.so.s.db.Read(ctx, "messaging.seq_at", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		seq, err = seqAt(ctx, tx, st, pos)
		return err
	})
	return seq, err
}

// message queues one missed message and waits while the queue is half full.
func (c *catcher) message(ctx context.Context, r *row) error {
	if !c.so.catchUpWith(r) {
		return errGone
	}
	return c.wait(ctx)
}

var errGone = errors.New("the socket has ended")

// wait returns when the client has taken enough for more to be queued.
func (c *catcher) wait(ctx context.Context) error {
	for {
		so := c.so
		so.mu.Lock()
		if !so.isFull() || so.phase == gone {
			so.mu.Unlock()
			return nil
		}
		if so.room == nil {
			so.room = make(chan struct{})
		}
		room := so.room
		so.mu.Unlock()
		so.s.sockets.Kick()
		if err := c.sleep(ctx, room); err != nil {
			return err
		}
	}
}

// sleep waits for a write. The socket tells of a write just before it counts
// the frames as gone, so the queue may look full once more when it wakes; then
// there may be no further write to wait for, and the queue is looked at anyway.
func (c *catcher) sleep(ctx context.Context, room <-chan struct{}) error {
	look := time.NewTimer(lookAgain)
	defer look.Stop()
	select {
	case <-room:
	case <-look.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

const lookAgain = 20 * time.Millisecond

const catchUpBytes = 128 << 10

// pong answers ping with the highest sequence of the conversations that this
// socket has to do with, so that a client notices a silent gap.
func (so *socket) pong(in *inbound.Frame) {
	b := appendAnswer(make([]byte, 0, 128), "pong", in.ID, in.CID)
	b = append(b, `,"conversations":{`...)
	so.mu.Lock()
	first := true
	for conversation := range so.marks {
		if r, ok := so.s.rooms.cache.GetIfPresent(conversation); ok {
			if !first {
				b = append(b, ',')
			}
			first = false
			b = strconv.AppendInt(append(appendPlain(b, conversation), ':'), r.last(), 10)
		}
	}
	so.mu.Unlock()
	so.conn.Send(ws.NewFrame(append(b, "}}"...), ws.Control, time.Time{}))
}
