package messaging

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/messaging/inbound"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
)

const (
	marksEvery    = 20 * time.Millisecond // how long acknowledgements are gathered
	marksTogether = 128                   // that one write takes
	lookBack      = remembered            // messages whose senders an acknowledgement looks for
	unackedAfter  = 30 * time.Second      // when a message counts as not acknowledged
)

// deviceMark names a device in a conversation.
type deviceMark struct{ user, device, conversation string }

// marks gathers acknowledgements and writes them together.
type marks struct {
	s *Service

	// Of the goroutine alone.
	waiting bool              // for a database that takes them again
	tallies map[string]*tally // of large groups, by conversation

	mu    sync.Mutex // guards what follows
	dirty map[deviceMark]gathered
}

type gathered struct {
	after, seq  int64
	since       int64 // if the device is new: the position at which it came
	correlation obs.Correlation
}

func newMarks(s *Service) *marks {
	return &marks{s: s, tallies: map[string]*tally{}, dirty: map[deviceMark]gathered{}}
}

// add notes that a device has everything up to g.seq, and had up to g.after before.
func (m *marks) add(k deviceMark, g gathered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.dirty[k]; ok {
		g.after, g.seq = before.after, max(before.seq, g.seq)
		if before.since != 0 { // it came then, whatever a later socket of it believes
			g.since = before.since
		}
	}
	m.dirty[k] = g
}

// run writes what was gathered, at most every marksEvery, and once more at the end.
func (m *marks) run(ctx context.Context) {
	t := time.NewTicker(marksEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			m.flush(context.WithoutCancel(ctx))
			return
		case <-t.C:
		}
		m.flush(ctx)
	}
}

func (m *marks) flush(ctx context.Context) {
	for more := true; more; {
		dirty := m.take()
		if len(dirty) > 0 && !m.write(ctx, dirty) {
			return
		}
		for k, g := range dirty {
			m.receipt(obs.WithCorrelation(ctx, g.correlation), k, g)
		}
		more = len(dirty) == marksTogether
		m.tellTallies(ctx) // here, since there may be more without end
	}
}

// take takes some of what was gathered: a write that grew with it would take its
// group's time from the messages in it, and in the end never succeed.
func (m *marks) take() map[deviceMark]gathered {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.dirty) <= marksTogether {
		all := m.dirty
		m.dirty = map[deviceMark]gathered{}
		return all
	}
	some := make(map[deviceMark]gathered, marksTogether)
	for k, g := range m.dirty {
		if len(some) == marksTogether {
			break
		}
		some[k] = g
		delete(m.dirty, k)
	}
	return some
}

var writeMarks = eachLength(func(n int) string {
	return `WITH news (user_id, device_id, conversation_id, acked_seq) AS (` + values(n, "TEXT", "TEXT", "TEXT", "BIGINT") + `)
INSERT INTO device_marks (user_id, device_id, conversation_id, acked_seq) SELECT DISTINCT * FROM news WHERE TRUE
ON CONFLICT (user_id, device_id, conversation_id) DO UPDATE SET acked_seq = excluded.acked_seq WHERE excluded.acked_seq > device_marks.acked_seq`
})

// beginning stands in the place of a conversation for the position at which a
// device came: of older conversations it gets what came after that.
const beginning = ""

const writeBeginning = `INSERT INTO device_marks (user_id, device_id, conversation_id, acked_seq) VALUES ($1, $2, $3, $4)
	ON CONFLICT (user_id, device_id, conversation_id) DO UPDATE SET acked_seq = excluded.acked_seq WHERE excluded.acked_seq < device_marks.acked_seq`

// write stores the marks; those that could not be stored are gathered again.
func (m *marks) write(ctx context.Context, dirty map[deviceMark]gathered) bool {
	err := m.s.db.Write(ctx, "messaging.marks", func(_ context.Context, tx *sqldb.Tx) error {
		for k, g := range dirty {
			if g.since == 0 {
				continue
			}
			if err := tx.ExecLater(writeBeginning, k.user, k.device, beginning, g.since); err != nil {
				return err
			}
		}
		return eachChunk(slices.Collect(maps.Keys(dirty)), func(list []any) error {
			args := make([]any, 0, 4*len(list))
			for _, one := range list {
				k := one.(deviceMark)
				args = append(args, k.user, k.device, k.conversation, dirty[k].seq)
			}
			return tx.ExecLater(writeMarks[len(list)], args...)
		})
	})
	if err == nil {
		m.waiting = false
		return true
	}
	if !m.waiting { // told once, not with each try
		m.s.log.LogAttrs(obs.WithCorrelation(ctx, obs.NewCorrelation()), slog.LevelWarn, "acknowledgements wait to be written", slog.Int("devices", len(dirty)), slog.String("reason", fault.CodeOf(err).String()), obs.Cause(err))
	}
	m.waiting = true
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, g := range dirty {
		if newer, ok := m.dirty[k]; ok {
			g.seq, g.correlation = max(g.seq, newer.seq), newer.correlation
			if g.since == 0 {
				g.since = newer.since
			}
		}
		m.dirty[k] = g
	}
	return false
}

// receipt tells the senders of what a device has newly got, at once or with others.
func (m *marks) receipt(ctx context.Context, k deviceMark, g gathered) {
	r, err := m.s.rooms.get(ctx, k.conversation)
	if err != nil {
		return
	}
	if len(r.members) > largeGroup {
		t := m.tallies[k.conversation]
		if t == nil {
			t = newTally(time.Time{})
			m.tallies[k.conversation] = t
		}
		t.add(device{k.user, k.device}, span{g.after, g.seq}, func(of span, senders map[int64]string) bool { return m.s.lookForSenders(ctx, r, of, senders) })
		return
	}
	senders := m.s.sendersOf(ctx, r, span{g.after, g.seq})
	delete(senders, k.user)
	if len(senders) == 0 {
		return
	}
	b := receiptHead(obs.CorrelationFrom(ctx), "delivered", k.conversation, g.seq)
	b = appendPlain(append(b, `,"user_id":`...), k.user)
	b = append(appendPlain(append(b, `,"device_id":`...), k.device), '}')
	m.s.publish(ctx, k.conversation, hint{To: slices.Collect(maps.Keys(senders)), Frame: b})
}

func receiptHead(cid obs.Correlation, kind, conversation string, seq int64) []byte {
	b := appendAnswer(make([]byte, 0, 200), "receipt", "", cid)
	b = appendPlain(append(b, `,"kind":`...), kind)
	b = appendPlain(append(b, `,"conversation_id":`...), conversation)
	return strconv.AppendInt(append(b, `,"seq":`...), seq, 10)
}

// tellTallies sends the receipts of large groups, each sender's at most once a second.
func (m *marks) tellTallies(ctx context.Context) {
	now := time.Now()
	for conversation, t := range m.tallies {
		switch {
		case now.Sub(t.told) < receiptsApart:
			continue
		case len(t.got) == 0:
			delete(m.tallies, conversation)
			continue
		}
		counts := t.counts()
		for c, senders := range counts {
			cid := obs.NewCorrelation()
			b := receiptHead(cid, "delivered", conversation, c.seq)
			b = append(strconv.AppendInt(append(b, `,"count":`...), int64(c.devices), 10), '}')
			m.s.publish(obs.WithCorrelation(ctx, cid), conversation, hint{To: senders, Frame: b})
		}
		if len(counts) > 0 {
			t.told = now
		}
		m.tallies[conversation] = newTally(t.told)
	}
}

// sendersOf finds who sent some messages.
func (s *Service) sendersOf(ctx context.Context, r *room, of span) map[string]bool {
	senders := map[string]bool{}
	if r.covered(of.after, of.upTo, func(t *trace) { senders[t.sender] = true }) {
		return senders
	}
	if r.kind == kindDirect { // nobody else can have sent the rest
		for _, m := range r.members {
			senders[m.user] = true
		}
		return senders
	}
	older := map[int64]string{}
	s.lookForSenders(ctx, r, of, older)
	for _, sender := range older {
		senders[sender] = true
	}
	return senders
}

// lookForSenders finds who sent which of the last messages of a span, and says
// whether it could.
func (s *Service) lookForSenders(ctx context.Context, r *room, of span, senders map[int64]string) bool {
	if r.covered(of.after, of.upTo, func(t *trace) { senders[t.seq] = t.sender }) {
		return true
	}
	err := s.db.Read(ctx, "messaging.senders", func(ctx context.Context, tx *sqldb.Tx) error {
		return readSenders(ctx, tx, r.no, max(of.after, of.upTo-lookBack), of.upTo, senders)
	})
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "a receipt was lost", slog.String("reason", fault.CodeOf(err).String()), obs.Cause(err))
	}
	return err == nil
}

// readMarks gives what a device has acknowledged.
func (s *Service) readMarks(ctx context.Context, who token.Identity) (map[string]int64, error) {
	var marks map[string]int64
	err := s.db.Read(ctx, "messaging.device_marks", func(ctx context.Context, tx *sqldb.Tx) error {
		rows, err := tx.Query(ctx, `SELECT conversation_id, acked_seq FROM device_marks WHERE user_id = $1 AND device_id = $2`, who.UserID, who.DeviceID)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var conversation string
			var seq int64
			if err := rows.Scan(&conversation, &seq); err != nil {
				return err
			}
			if marks == nil {
				marks = map[string]int64{}
			}
			marks[conversation] = seq
		}
		return rows.Err()
	})
	return marks, err
}

// ack takes a device's acknowledgement of everything up to a sequence.
func (so *socket) ack(ctx context.Context, in *inbound.Frame) error {
	r, err := so.s.visible(ctx, so.who.UserID, in.ConversationID)
	if err != nil {
		return err
	}
	last, err := so.s.lastSeq(ctx, r, in.Seq)
	if err != nil {
		return err
	}
	if in.Seq > last {
		return fault.OnField(fault.CodeInvalid, "seq", "must not be above the conversation's last")
	}
	after, live, moved := so.acked(in.ConversationID, in.Seq)
	if !moved {
		return nil
	}
	now := time.Now()
	r.covered(after, in.Seq, func(t *trace) {
		// What the device fetched when it came back says how long it was away.
		if t.sender == so.who.UserID || live == 0 || t.seq < live {
			return
		}
		if d := now.Sub(t.accepted); d >= 0 {
			so.s.obs.Metrics.E2ELatency.Observe(obs.StageAcknowledged, d)
		} else {
			so.s.obs.Metrics.E2EInvalid.Inc()
		}
	})
	so.s.marks.add(deviceMark{so.who.UserID, so.who.DeviceID, in.ConversationID}, gathered{after, in.Seq, so.takeSince(), in.CID})
	return nil
}

// takeSince gives the position at which a new device came, once: to its first
// acknowledgement. The greeting calls it, and after that the reading goroutine.
func (so *socket) takeSince() int64 {
	since := so.since
	so.since = 0
	return since
}

// acked moves the socket's mark; moved is false for what it had acknowledged
// before. live is the first message that the socket got as it happened.
func (so *socket) acked(conversation string, seq int64) (after, live int64, moved bool) {
	so.mu.Lock()
	defer so.mu.Unlock()
	m := so.markOf(conversation, 0)
	if m.assumed { // its first: it may cover what came before this socket
		m.acked, m.assumed = max(0, seq-remembered), false
	}
	if seq <= m.acked {
		return 0, 0, false
	}
	after, m.acked = m.acked, seq
	m.pending, m.since, m.oldest = 0, time.Time{}, time.Time{}
	if m.delivered > seq {
		m.pending, m.since, m.oldest = int(m.delivered-seq), time.Now(), time.Now()
	}
	return after, m.live, true
}

// overdue counts the messages that this socket got and did not acknowledge in
// time, each once, and gives the age of the oldest that is not acknowledged.
func (so *socket) overdue(now time.Time) (count int, oldest time.Duration) {
	so.mu.Lock()
	defer so.mu.Unlock()
	for _, m := range so.marks {
		if m.oldest.IsZero() {
			continue
		}
		oldest = max(oldest, now.Sub(m.oldest))
		if m.pending > 0 && now.Sub(m.since) > unackedAfter {
			count += m.pending
			m.pending = 0 // what is handed over from now on has its own time
		}
	}
	return count, oldest
}
