package load

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
)

// conversation is everything known about one conversation: who sent what, which
// sequence it got, and who has it.
type conversation struct {
	id   string
	base int64 // last sequence before the run; what is not above it is not judged
	pad  []byte

	mu      sync.Mutex // guards what follows, the inboxes too
	byID    map[uuid]*message
	bySeq   []*message // [0] is base+1; nil = never seen
	inboxes []*inbox
	sent    int
	faults  faults
}

// message is one message that this run made.
type message struct {
	id      uuid
	conv    *conversation
	from    *inbox
	number  int       // the how-manieth of its sender in this conversation, from 1 on
	due     time.Time // when it was to be sent
	seq     int64     // 0 = not known
	acked   bool
	tried   bool // written to a socket; its device's, under writing
	refused bool // the last answer was a definite refusal
	retried bool // sent again after an error answer, which may change its place
	left    atomic.Int32
}

// inbox is what one device has of one conversation.
type inbox struct {
	conv     *conversation
	device   int
	had      bits  // bit seq-base-1
	own      bits  // own messages that were answered on this socket
	prefix   int64 // the device has everything up to here
	high     int64 // greatest sequence of a message event on this socket
	reported int64 // last acknowledged to the server
	gone     bool  // the device left and will not come back

	answered struct { // the send with the greatest number that was answered
		number int
		seq    int64
	}
}

// faults are the things that must not happen.
type faults struct {
	duplicates       int // one identifier under two sequences, or one event twice on one socket
	duplicatesOnWire int // again after a reconnect; a client drops them, they break nothing
	misordered       int
	unexpected       int // not sent by this run, altered, or one sequence for two messages
}

func newConversation(id string, base int64, pad []byte) *conversation {
	return &conversation{id: id, base: base, pad: pad, byID: map[uuid]*message{}}
}

func (c *conversation) join(device int) *inbox {
	in := &inbox{conv: c, device: device, prefix: c.base, reported: c.base}
	c.inboxes = append(c.inboxes, in)
	return in
}

// make notes a message that is about to be sent.
func (c *conversation) make(from *inbox, due time.Time) *message {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	m := &message{id: newUUID(), conv: c, from: from, number: c.sent, due: due}
	m.left.Store(int32(len(c.inboxes)))
	c.byID[m.id] = m
	return m
}

// body is the text of a message: its identifier and the padding.
func (m *message) body(b []byte) []byte { return append(m.id.appendTo(b), m.conv.pad...) }

func (c *conversation) isBody(id uuid, body []byte) bool {
	var buf [uuidLen]byte
	return len(body) == uuidLen+len(c.pad) && bytes.Equal(body[:uuidLen], id.appendTo(buf[:0])) && bytes.Equal(body[uuidLen:], c.pad)
}

// place notes that m has that sequence, wherever it was learned.
func (c *conversation) place(m *message, seq int64) {
	i := int(seq - c.base - 1)
	for len(c.bySeq) <= i {
		c.bySeq = append(c.bySeq, nil)
	}
	if c.bySeq[i] == m {
		return
	}
	if c.bySeq[i] != nil {
		c.faults.unexpected++
		return
	}
	c.bySeq[i] = m
	if m.seq == 0 {
		m.seq = seq
	} else {
		c.faults.duplicates++
	}
}

// maxJump bounds the memory that a wrong sequence can claim.
const maxJump = 1 << 26

func (c *conversation) judged(seq int64) bool {
	if seq <= c.base {
		return false
	}
	if seq > c.base+maxJump {
		c.faults.unexpected++
		return false
	}
	return true
}

// receive judges a message event, or what a device read of the log (then live
// is false and the order is that of the reading). It gives the message if this
// is the first time that the device sees it.
func (c *conversation) receive(in *inbox, seq int64, rawID, body []byte, live bool) *message {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.judged(seq) {
		return nil
	}
	had := in.has(seq)
	if live {
		in.order(seq, had)
	}
	in.take(seq)
	id, ok := parseUUID(rawID)
	m := c.byID[id]
	if !ok || m == nil || !c.isBody(id, body) {
		if !had {
			c.faults.unexpected++
		}
		return nil
	}
	c.place(m, seq)
	if had {
		return nil
	}
	return m
}

// order judges a live event against those before it on the same socket.
func (in *inbox) order(seq int64, had bool) {
	f := &in.conv.faults
	switch {
	case had && (seq <= in.high || in.own.has(in.bit(seq))):
		f.duplicates++
	case had:
		f.duplicatesOnWire++
	case seq < in.high:
		f.misordered++
	}
	in.high = max(in.high, seq)
}

// answer judges a sent frame. It says whether it is the first for m.
func (c *conversation) answer(m *message, seq int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.refused = false
	if !c.judged(seq) {
		return false
	}
	c.place(m, seq)
	in := m.from
	if !in.has(seq) {
		in.own.set(in.bit(seq))
		in.take(seq)
	}
	if m.acked {
		return false
	}
	m.acked = true
	in.fifo(m, seq)
	return true
}

// fifo judges that a sender's messages got their sequences in its order.
func (in *inbox) fifo(m *message, seq int64) {
	last := &in.answered
	if m.retried {
		return
	}
	if last.number > 0 && (m.number > last.number) != (seq > last.seq) {
		in.conv.faults.misordered++
	}
	if m.number > last.number {
		last.number, last.seq = m.number, seq
	}
}

// refuse notes an error answer.
func (c *conversation) refuse(m *message, definite bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.refused, m.retried = definite, true
}

// resume begins a new socket and says what the device has.
func (in *inbox) resume() int64 {
	in.conv.mu.Lock()
	defer in.conv.mu.Unlock()
	in.high = 0
	clear(in.own)
	return in.prefix
}

// toReport gives the sequence to acknowledge, 0 if there is nothing new.
func (in *inbox) toReport() int64 {
	in.conv.mu.Lock()
	defer in.conv.mu.Unlock()
	if in.prefix == in.reported {
		return 0
	}
	in.reported = in.prefix
	return in.prefix
}

func (in *inbox) bit(seq int64) int { return int(seq - in.conv.base - 1) }

func (in *inbox) has(seq int64) bool { return in.had.has(in.bit(seq)) }

func (in *inbox) take(seq int64) {
	in.had.set(in.bit(seq))
	for in.has(in.prefix + 1) {
		in.prefix++
	}
}

// bits is a set of small numbers.
type bits []uint64

func (b bits) has(i int) bool { return i>>6 < len(b) && b[i>>6]>>(i&63)&1 == 1 }

func (b *bits) set(i int) {
	for i>>6 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i>>6] |= 1 << (i & 63)
}
