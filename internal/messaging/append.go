package messaging

import (
	"context"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
)

// post is an accepted draft on its way into the log.
type post struct {
	no      int64  // of the conversation
	version int64  // of the membership that let it pass
	row     row    // all that is known before the transaction
	prev    int64  // position of the message before it, or what stands for none
	device  int64  // the hash of the sender's device
	tail    []byte // of the encoded message: what follows the sequence number
	origin  string
}

// author is who sends, and what stands for the device in the log.
type author struct {
	token.Identity
	device int64
}

// newPost prepares as much as it can, because it runs on the goroutine of the
// sender, and there is only one that writes.
func newPost(ctx context.Context, r *room, who author, d Draft, origin string) *post {
	p := &post{no: r.no, version: r.version, origin: origin, device: who.device, row: row{
		no: r.no, conversation: r.id, sender: who.UserID, device: who.DeviceID, clientMsgID: d.ClientMsgID,
		body: d.Body, correlation: obs.CorrelationFrom(ctx), trace: obs.TraceFrom(ctx), created: time.Now(),
	}}
	p.tail = appendMessageTail(make([]byte, 0, 200+len(d.Body)+len(d.Body)/8), &p.row)
	return p
}

// clientKey is what a message is stored once under.
type clientKey struct{ clientMsgID, sender, device string }

func (r *row) client() clientKey { return clientKey{r.clientMsgID, r.sender, r.device} }

// head is the state of a conversation inside the transaction.
type head struct {
	lastSeq, lastPos, version int64
	hadSeq                    int64 // lastSeq before this batch
}

type result = sqldb.Result[outcome]

// appendBatch commits all waiting posts in one transaction. Nobody moves the heads
// of the conversations between their being read and moved, since one transaction
// writes at a time, on whatever node.
//
// Looking for repeats costs as much as a tenth of the rest, and there are few.
// So a batch first takes numbers for all and goes by the unique index: if that
// refuses a row, the group is taken back and done again, and only what was not
// found takes numbers, so that a repeat leaves no hole. After a repeat all batches
// look for a while, so whoever repeats on purpose can have others' messages written
// twice only once in that time.
//
// With PostgreSQL a batch that does not look is two ways to the server and back,
// to the heads and the positions, and to the commit; one more for each further 128
// conversations. It is one way if the heads are remembered, and nobody else has
// taken a position since; that is looked at with the commit.
func (s *Service) appendBatch(ctx context.Context, tx *sqldb.Tx, posts []*post) ([]result, error) {
	b := &batch{s: s, posts: posts, results: make([]result, len(posts)), look: time.Now().Before(s.lookUntil)}
	b.listHeads()
	if !b.look && !mutant.PositionEarly {
		b.after, b.known = s.ends.recall(s.outbox, b.order, b.heads)
	}
	if !b.look && !b.known {
		b.positions = s.outbox.TakeLater(tx, len(posts))
	}
	steps := []func(context.Context, *sqldb.Tx) error{b.readHeads, b.checkMembers, b.findRepeats, b.number, b.insert, b.moveHeads}
	for _, step := range steps {
		if err := step(ctx, tx); err != nil {
			return nil, err
		}
	}
	return b.results, nil
}

// lookFor is how long batches look for repeats after there was one.
const lookFor = time.Second

type batch struct {
	s         *Service
	posts     []*post
	results   []result
	look      bool
	known     bool // the heads are remembered, and hold if the last position is after
	after     int64
	positions *outbox.Positions // taken for all posts; nil = when it is known for how many
	heads     map[int64]*head
	order     []int64            // the conversations, sorted
	stored    map[clientKey]*row // found in the log
	fresh     []*post            // that get a row
	again     map[int]*post      // repeats inside this batch: index -> the first
}

func (b *batch) refuse(i int, err error) { b.results[i].Err = err }

func (b *batch) listHeads() {
	b.heads = make(map[int64]*head, len(b.posts))
	b.order = make([]int64, 0, len(b.posts))
	for _, p := range b.posts {
		no := p.no
		if _, ok := b.heads[no]; !ok {
			b.heads[no] = nil
			b.order = append(b.order, no)
		}
	}
	slices.Sort(b.order)
}

func (b *batch) readHeads(ctx context.Context, tx *sqldb.Tx) error {
	if b.known {
		return nil
	}
	return readHeads(ctx, tx, b.order, b.heads)
}

// checkMembers asks the transaction where the membership has changed since the
// post was let in.
func (b *batch) checkMembers(ctx context.Context, tx *sqldb.Tx) error {
	for i, p := range b.posts {
		h := b.heads[p.no]
		if h != nil && h.version == p.version {
			continue
		}
		if h != nil {
			ok, err := isMember(ctx, tx, p.no, p.row.sender)
			if err != nil {
				return err
			}
			if ok {
				continue
			}
		}
		b.refuse(i, errNoConversation)
	}
	return nil
}

func (b *batch) findRepeats(ctx context.Context, tx *sqldb.Tx) error {
	if !b.look {
		return nil
	}
	wanted := make([]deviceClient, len(b.posts))
	for i, p := range b.posts {
		wanted[i] = deviceClient{p.row.clientMsgID, p.device}
	}
	var err error
	b.stored, err = readByClient(ctx, tx, wanted)
	return err
}

// number gives each new post its sequence and its position.
func (b *batch) number(ctx context.Context, tx *sqldb.Tx) error {
	b.again = map[int]*post{}
	b.fresh = make([]*post, 0, len(b.posts))
	first := make(map[clientKey]*post, len(b.posts))
	for i, p := range b.posts {
		if b.results[i].Err != nil {
			continue
		}
		k := p.row.client()
		if old, ok := b.stored[k]; ok {
			b.results[i] = p.repeatOf(old)
		} else if before, ok := first[k]; ok {
			b.again[i] = before
		} else {
			first[k] = p
			b.fresh = append(b.fresh, p)
			b.results[i].Value.row = &p.row
		}
	}
	pos, err := b.take(ctx, tx)
	if err != nil {
		return err
	}
	b.assign(pos)
	for i, before := range b.again {
		b.results[i] = b.posts[i].repeatOf(&before.row)
	}
	return nil
}

// take gives the first of as many positions as there are new posts.
func (b *batch) take(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	switch {
	case b.known && len(b.fresh) > 0:
		return b.after + 1, b.s.outbox.TakeAfter(tx, b.after, len(b.fresh), b.s.ends.missed)
	case b.positions != nil:
		return b.positions.First(ctx, tx, len(b.fresh))
	case len(b.fresh) > 0:
		return b.s.outbox.Take(ctx, tx, len(b.fresh))
	}
	return 0, nil
}

func (b *batch) assign(pos int64) {
	for n, p := range b.fresh {
		h := b.heads[p.no]
		if mutant.SequenceOutside {
			h.lastSeq = b.s.rooms.outside(p.row.conversation, h.lastSeq)
		}
		h.lastSeq++
		p.prev, h.lastPos = h.lastPos, pos+int64(n)
		p.row.pos, p.row.seq = h.lastPos, h.lastSeq
		b.s.origins.note(&p.row, p.origin)
	}
}

// repeatOf answers a post whose identifier is in the log: the stored message if
// it says the same, else a conflict.
func (p *post) repeatOf(old *row) result {
	if old.no != p.no || old.body != p.row.body {
		return result{Err: fault.OnField(fault.CodeIdempotencyConflict, "client_msg_id", "was used for another message; make a fresh one")}
	}
	return result{Value: outcome{row: old, repeat: true}}
}

// insert writes the new messages. After a look a row that is there is an error.
func (b *batch) insert(ctx context.Context, tx *sqldb.Tx) error {
	if len(b.fresh) == 0 || mutant.DrainAcksQueued && b.s.draining.Load() {
		return nil
	}
	args := b.s.args[:0]
	for _, p := range b.fresh {
		r := &p.row
		args = append(args, r.pos, r.no, r.seq, p.prev, r.sender, r.device, p.device, r.clientMsgID, r.body, string(r.correlation), r.created.UnixMilli())
	}
	var err error
	if b.look {
		err = tx.Insert(ctx, "messages", messageColumns, args)
	} else {
		err = tx.InsertLater("messages", messageColumns, args, func() { b.s.lookUntil = time.Now().Add(lookFor) })
	}
	clear(args)
	if b.s.args = args; err != nil {
		return err
	}
	envelopes := make([]bus.Envelope, 0, len(b.fresh))
	for _, p := range b.fresh {
		envelopes = append(envelopes, b.s.envelope(&p.row, p.tail, p.origin))
	}
	return b.s.outbox.Emit(ctx, tx, envelopes...)
}

// moveHeads writes the new ends of the conversations.
func (b *batch) moveHeads(_ context.Context, tx *sqldb.Tx) error {
	moved := make([]any, 0, 4*len(b.order))
	for _, no := range b.order {
		if h := b.heads[no]; h != nil && h.lastSeq > h.hadSeq {
			moved = append(moved, no, h.hadSeq, h.lastSeq, h.lastPos)
		}
	}
	if len(moved) > 0 { // else no position is taken, and nothing says what else has moved
		tx.AfterCommit(func() { b.s.ends.keep(b.s.outbox, b.heads) })
	}
	return writeHeads(tx, moved, b.s.ends.missed)
}

// envelope is how a message travels: its payload is the message of the protocol,
// encoded once, here.
func (s *Service) envelope(r *row, tail []byte, origin string) bus.Envelope {
	r.id = s.ids.id(r.pos, r.created)
	return bus.Envelope{
		ID: r.id, Type: typeMessage, Key: r.conversation, Seq: r.seq, Pos: r.pos, At: r.created,
		Correlation: r.correlation, Trace: r.trace, Origin: origin, Payload: joinMessage(r.id, r, tail),
	}
}
