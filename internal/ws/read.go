package ws

import (
	"bytes"
	"unicode/utf8"

	"github.com/nova-chat/nova/internal/obs"
)

const (
	// maxFragments is how many frames one message may come in.
	maxFragments = 256
	// maxWaste is how many bytes are read and dropped after the last word, so
	// that the peer can read our close frame before the connection goes.
	maxWaste = 1 << 20
)

// reader is the state of a socket between two reads.
type reader struct {
	in        []byte // an incomplete frame
	text      []byte // the fragments of an incomplete message
	checked   int    // bytes of text that are known to be UTF-8
	fragments int    // of the incomplete message; 0 = none
	wasted    int
	bucket    bucket
	texts     bool // the latest read had a message in it
	pings     bool // the latest read had a ping or a pong in it
	greeted   bool // the first message has been handled
	stop      bool // nothing more can be understood
}

// received takes what was read. The bytes are changed and not kept. It is false
// when reading on has no use.
func (c *Conn) received(b []byte) bool {
	now := c.srv.now()
	c.lastRead.Store(now)
	r := &c.reader
	r.texts, r.pings = false, false
	if r.stop {
		return c.waste(b)
	}
	if len(r.in) > 0 {
		r.in = append(r.in, b...)
		b = r.in
	}
	rest := c.frames(b, now)
	switch {
	case r.stop:
		r.in, r.text = nil, nil
		return c.waste(rest)
	case len(rest) == 0:
		r.in = nil
	case len(rest) < len(b) || len(r.in) == 0:
		r.in = bytes.Clone(rest)
	}
	return true
}

func (c *Conn) waste(b []byte) bool {
	c.reader.wasted += len(b)
	return c.reader.wasted < maxWaste
}

// frames handles all complete frames of b and gives the rest.
func (c *Conn) frames(b []byte, now int64) []byte {
	for len(b) > 0 && !c.reader.stop {
		h, why, ok := c.header(b)
		if !ok {
			c.refuse(why)
			break
		}
		if h.size == 0 || uint64(len(b)-h.size) < h.n {
			break
		}
		if !c.reader.bucket.take(now, c.srv.frameEvery, c.srv.frameBurst) && h.op != opClose {
			c.srv.obs.Metrics.RateLimited.Inc(obs.LimitFramesPerSocket)
			c.refuse(obs.CloseRateLimited)
			break
		}
		end := h.size + int(h.n)
		payload := b[h.size:end:end]
		unmask(payload, h.mask)
		b = b[end:]
		c.frame(h, payload)
	}
	return b
}

// header reads a header and says why a frame may not come, as soon as it shows:
// nothing is kept for a frame that is refused. The checks follow the order of
// the bytes, so that the verdict does not depend on how they were cut.
func (c *Conn) header(b []byte) (h header, why obs.CloseReason, ok bool) {
	if h, ok = parseFirst(b[0]); !ok {
		return h, obs.CloseProtocol, false
	}
	r, data := &c.reader, h.op < opClose
	switch {
	case h.op == opBinary:
		return h, obs.CloseBinary, false
	case data && (h.op == opContinue) != (r.fragments > 0):
		return h, obs.CloseProtocol, false
	case data && r.fragments >= maxFragments:
		return h, obs.CloseTooBig, false
	}
	if h, ok = parseRest(h, b); !ok {
		return h, obs.CloseProtocol, false
	}
	if data && h.n > uint64(c.srv.cfg.MaxMessage-len(r.text)) {
		return h, obs.CloseTooBig, false
	}
	return h, 0, true
}

func (c *Conn) frame(h header, payload []byte) {
	switch h.op {
	case opText, opContinue:
		c.data(h, payload)
	case opPing:
		c.pong(payload)
		c.pinged()
	case opPong:
		c.pinged()
	case opClose:
		c.closedByPeer(payload)
	}
}

func (c *Conn) data(h header, payload []byte) {
	r := &c.reader
	if h.op == opText && h.fin {
		if !utf8.Valid(payload) {
			c.refuse(obs.CloseUTF8)
			return
		}
		c.text(payload)
		return
	}
	r.fragments++
	r.text = append(r.text, payload...)
	n, ok := validSoFar(r.text[r.checked:])
	r.checked += n
	if !ok || h.fin && r.checked < len(r.text) {
		c.refuse(obs.CloseUTF8)
		return
	}
	if h.fin {
		whole := r.text
		r.text, r.checked, r.fragments = nil, 0, 0
		c.text(whole)
	}
}

func (c *Conn) text(payload []byte) {
	c.reader.texts = true
	if c.h.Text != nil && !c.mute.Load() {
		defer c.guard("ws.text")
		c.h.Text(c, payload)
	}
}

func (c *Conn) pinged() {
	c.reader.pings = true
	if c.h.Pinged != nil {
		defer c.guard("ws.pinged")
		c.h.Pinged(c)
	}
}

// refuse ends the socket for something the peer sent. Nothing that follows is
// looked at: its frames cannot be told apart any more, or it is not welcome.
func (c *Conn) refuse(why obs.CloseReason) {
	c.reader.stop = true
	c.mu.Lock()
	c.broken = true
	then := c.lateLocked(hangUp)
	c.closeLocked(why, verdictOf(why).frame(""))
	c.mu.Unlock()
	c.do(then)
	c.flusher.wakeUp()
}

// closedByPeer answers the peer's close frame, or takes it as the answer to ours.
func (c *Conn) closedByPeer(payload []byte) {
	code, why, ok := closePayload(payload)
	if !ok {
		c.refuse(why)
		return
	}
	c.reader.stop = true
	c.mute.Store(true)
	c.mu.Lock()
	c.peerClosed = true
	then := c.lateLocked(leave)
	c.closeLocked(obs.CloseClient, closeFrame(code, ""))
	c.mu.Unlock()
	c.do(then)
	c.flusher.wakeUp()
}

// lateLocked is what to do at once when our close frame is written already.
func (c *Conn) lateLocked(what next) next {
	if c.phase >= closed {
		return what
	}
	return stay
}

// bucket is a token bucket in one number: the time at which it would be full.
type bucket int64

// take takes one; every is the time for one to come back, burst how many there
// are. It is always true if every is 0.
func (b *bucket) take(now, every, burst int64) bool {
	full := max(int64(*b), now)
	if full-now > every*(burst-1) {
		return false
	}
	*b = bucket(full + every)
	return true
}
