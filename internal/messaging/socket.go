package messaging

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/messaging/inbound"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/ws"
)

// phase is how far a socket has come.
type phase uint8

const (
	opening  phase = iota // no hello yet
	greeting              // hello is being answered
	catching              // what was missed is being sent; live events pass it by
	holding               // joined: live events are held back until the rest was sent
	live
	gone
)

// socket is one device's connection.
type socket struct {
	s      *Service
	conn   *ws.Conn
	opened time.Time

	// Written once, before the socket joins.
	who      token.Identity
	since    int64 // the position at which a device came that never acknowledged anything; 0: it has
	refused  error // why the upgrade's proof of identity did not hold
	admitted time.Time

	device int64 // what stands for the device in the log, once it has sent something; the reading goroutine alone

	mu        sync.Mutex // guards what follows
	phase     phase
	frames    uint64
	marks     map[string]*mark
	held      []heldFrame
	heldBytes int
	own       ownSends
	wrong     []time.Time   // the last wrong frames
	room      chan struct{} // closed when the queue has room again; made by catchup
}

// mark is how far this device is in one conversation.
type mark struct {
	acked, delivered int64
	assumed          bool      // the device has not acknowledged anything; acked only says where it began
	pending          int       // handed over, not acknowledged and not counted as overdue
	oldest           time.Time // when the oldest message that is not acknowledged was handed over; zero: none
	has              int64     // what the device had when it came: events up to here are none to it
	live             int64     // the first event that was handed over as it happened; 0: none
	since            time.Time // when the first of pending was handed over
}

// wrongLimit wrong frames within wrongWindow close a socket.
const (
	wrongLimit  = 10
	wrongWindow = 10 * time.Second
)

// Text handles one frame; it is called on the socket's reading goroutine.
func (so *socket) text(payload []byte) {
	so.mu.Lock()
	so.frames++
	n, phase := so.frames, so.phase
	so.mu.Unlock()
	if phase == gone {
		return
	}
	in, err := inbound.Decode(payload, so.conn.Correlation(), n)
	so.s.obs.Metrics.SocketFrames.Inc(in.Op)
	if err == nil {
		ctx := obs.WithCorrelation(context.Background(), in.CID)
		err = so.dispatch(ctx, phase, &in)
	}
	if err != nil {
		so.fail(in.ID, in.CID, err)
	}
}

func (so *socket) dispatch(ctx context.Context, now phase, in *inbound.Frame) error {
	switch {
	case in.Op == obs.OpHello:
		return so.hello(ctx, now, in)
	case now == opening || now == greeting:
		so.conn.Close(obs.CloseIdentity, "hello first")
		return nil
	}
	switch in.Op {
	case obs.OpSend:
		so.send(ctx, in)
		return nil
	case obs.OpAck:
		return so.ack(ctx, in)
	case obs.OpRead:
		return so.read(ctx, in)
	case obs.OpTyping:
		return so.typing(ctx, in)
	case obs.OpPing:
		so.pong(in)
		return nil
	default:
		return fault.New(fault.CodeUnknownOp, "There is no such op.")
	}
}

// fail answers a frame with an error, and ends the socket if it deserves it.
func (so *socket) fail(id string, cid obs.Correlation, err error) {
	f := fault.From(err)
	ctx := obs.WithCorrelation(context.Background(), cid)
	so.s.obs.Metrics.SocketErrors.Inc(f.Code)
	if f.Code == fault.CodeInternal {
		so.s.log.LogAttrs(ctx, slog.LevelError, "a frame failed", slog.String("user_id", so.who.UserID), slog.String("reason", obs.LogName(f.Code)), obs.Cause(err))
	} else if so.s.obs.Sample(obs.SiteRefusal) {
		so.s.log.LogAttrs(ctx, slog.LevelInfo, "a frame was refused", slog.String("user_id", so.who.UserID), slog.String("reason", obs.LogName(f.Code)))
	}
	so.conn.Send(errorFrame(id, cid, f))
	if errors.Is(err, inbound.ErrNoObject) || so.tooManyWrong(f.Code) {
		so.conn.Close(obs.CloseBadFrame, "bad frame")
	}
}

// tooManyWrong notes a frame with wrong content.
func (so *socket) tooManyWrong(c fault.Code) bool {
	switch c.Kind() {
	case fault.Invalid, fault.Unprocessable, fault.Unsupported:
	default:
		return false
	}
	so.mu.Lock()
	defer so.mu.Unlock()
	now := time.Now()
	so.wrong = append(so.wrong, now)
	if len(so.wrong) < wrongLimit {
		return false
	}
	so.wrong = so.wrong[len(so.wrong)-wrongLimit:]
	return now.Sub(so.wrong[0]) <= wrongWindow
}

func (so *socket) send(ctx context.Context, in *inbound.Frame) {
	d := Draft{in.ConversationID, in.ClientMsgID, in.Body}
	id, cid := in.ID, in.CID
	so.sending(d.ClientMsgID)
	so.s.send(ctx, so.author(), d, so.conn.ID(), func(o outcome, err error) {
		if err != nil {
			so.unsent(d.ClientMsgID)
			so.fail(id, cid, err)
			return
		}
		so.sent(&o)
		so.s.logSent(ctx, so.who, &o)
		if so.conn.Queue(so.s.sentFrame(id, cid, o.row)) {
			so.s.ledger.acknowledged.Add(1)
		}
	})
}

func (so *socket) author() author {
	if so.device == 0 {
		so.device = deviceHash(so.who.UserID, so.who.DeviceID)
	}
	return author{so.who, so.device}
}

// markOf is the mark of a conversation, made if there is none; so.mu is held.
func (so *socket) markOf(conversation string, acked int64) *mark {
	m := so.marks[conversation]
	if m == nil {
		if so.marks == nil {
			so.marks = map[string]*mark{}
		}
		m = &mark{acked: acked, assumed: true}
		so.marks[conversation] = m
	}
	return m
}

func (s *Service) logSent(ctx context.Context, who token.Identity, o *outcome) {
	if s.obs.Sample(obs.SiteSend) {
		s.log.LogAttrs(ctx, slog.LevelInfo, "message committed", slog.String("op", "messaging.send"), slog.String("user_id", who.UserID),
			slog.String("conversation_id", o.row.conversation), slog.Int64("seq", o.row.seq), slog.Bool("repeat", o.repeat))
	}
}

// deliver gives the socket an event; the hub calls it in the order of positions.
func (so *socket) deliver(d *delivery) {
	so.mu.Lock()
	defer so.mu.Unlock()
	switch so.phase {
	case holding:
		so.hold(d)
	case live:
		so.queue(d)
	default: // it is not in the hub yet, or not any more
	}
}

// queue puts an event on the socket's queue; so.mu is held.
func (so *socket) queue(d *delivery) {
	if so.isEcho(d) {
		return
	}
	if d.envelope.Type == typeMessage {
		if !so.track(d.envelope.Key, d.envelope.Seq, d.envelope.At) {
			return
		}
		if m := so.marks[d.envelope.Key]; m.live == 0 {
			m.live = d.envelope.Seq
		}
	}
	so.conn.Queue(d.frame)
}

// track notes that a message is on its way to the device; so.mu is held.
// It is false if the device has it already: one that read ahead of the hub over
// REST, or whose earlier socket sent it.
func (so *socket) track(conversation string, seq int64, at time.Time) bool {
	m := so.markOf(conversation, seq-1)
	if seq <= m.has {
		return false
	}
	m.delivered = max(m.delivered, seq)
	if m.acked >= seq {
		return true
	}
	if m.pending++; m.pending == 1 {
		m.since = at
	}
	if m.oldest.IsZero() {
		m.oldest = at
	}
	return true
}

// closed is called once, when the connection has ended.
func (so *socket) closed(why obs.CloseReason, unsent []*ws.Frame) {
	so.mu.Lock()
	before := so.phase
	so.phase = gone
	so.holdNothing()
	so.wakeLocked()
	so.mu.Unlock()
	so.s.forget(so)
	if n := countMessages(unsent); n > 0 {
		so.s.obs.Metrics.DeliveryFailures.Add(undelivered(why), n)
	}
	if before > greeting {
		so.s.ledger.closed.Add(1)
	}
	if so.s.obs.Sample(obs.SiteSocket) {
		ctx := obs.WithCorrelation(context.Background(), so.conn.Correlation())
		so.s.log.LogAttrs(ctx, slog.LevelInfo, "socket closed", slog.String("user_id", so.who.UserID), slog.String("reason", why.String()),
			slog.Duration("open", time.Since(so.opened)))
	}
}

// undelivered is why messages that were queued on a socket did not get out.
func undelivered(why obs.CloseReason) obs.DeliveryReason {
	switch why {
	case obs.CloseSlow:
		return obs.DeliverySlow
	case obs.CloseGone, obs.ClosePing:
		return obs.DeliveryWrite
	default:
		return obs.DeliveryClosed
	}
}

func countMessages(frames []*ws.Frame) (n int) {
	for _, f := range frames {
		if f.Kind() == ws.Message {
			n++
		}
	}
	return n
}

// written is called after frames were written to the connection.
func (so *socket) written(frames []*ws.Frame, at time.Time) {
	m := so.s.obs.Metrics
	for _, f := range frames {
		if d := at.Sub(f.Accepted()); d >= 0 {
			m.E2ELatency.Observe(obs.StageWritten, d)
		} else {
			m.E2EInvalid.Inc()
		}
	}
	m.Deliveries.Add(len(frames))
	so.mu.Lock()
	so.wakeLocked()
	so.mu.Unlock()
}

// wakeLocked lets a waiting catchup look at the queue again.
func (so *socket) wakeLocked() {
	if so.room != nil {
		close(so.room)
		so.room = nil
	}
}
