package ws

import "github.com/nova-chat/nova/internal/obs"

// keepQueue is the capacity that an empty queue may keep.
const keepQueue = 4

// Queue adds a frame to what is written at the next [Server.Kick]. It is false
// when the socket is closing. A socket whose queue is full loses its ephemeral
// frames; if that is not enough it is closed as too slow.
func (c *Conn) Queue(f *Frame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != open {
		return false
	}
	if c.fullLocked(f) {
		c.dropEphemeralLocked()
		if c.fullLocked(f) {
			if f.kind == Ephemeral {
				return true
			}
			c.closeLocked(obs.CloseSlow, c.srv.slow)
			return false
		}
	}
	c.queue = append(c.queue, f)
	c.bytes += f.Len()
	c.markLocked()
	return true
}

// fullLocked says whether f has no room. A frame above all bounds has room when
// it is alone: else it could never be sent.
func (c *Conn) fullLocked(f *Frame) bool {
	return len(c.queue) >= c.srv.cfg.QueueFrames ||
		len(c.queue) > 0 && c.bytes+f.Len() > c.srv.cfg.QueueBytes
}

// markLocked makes sure that somebody will write the queue.
func (c *Conn) markLocked() {
	if !c.dirty {
		c.dirty = true
		c.flusher.add(c)
	}
}

// heldLocked is the number of frames at the head of the queue that cannot be
// taken back: those being written and one that is written in part.
func (c *Conn) heldLocked() int {
	if c.inflight == 0 && c.off > 0 {
		return 1
	}
	return c.inflight
}

func (c *Conn) dropEphemeralLocked() {
	kept := c.queue[:c.heldLocked()]
	for _, f := range c.queue[len(kept):] {
		if f.kind == Ephemeral {
			c.bytes -= f.Len()
			continue
		}
		kept = append(kept, f)
	}
	clear(c.queue[len(kept):])
	c.queue = kept
}

// giveUpLocked drops what is queued and not being written.
func (c *Conn) giveUpLocked() {
	held := c.heldLocked()
	for _, f := range c.queue[held:] {
		c.bytes -= f.Len()
		if f.kind < kindPing {
			c.unsent = append(c.unsent, f)
		}
	}
	clear(c.queue[held:])
	c.queue = c.queue[:held]
}

// pong answers a ping. An answer that still waits is replaced: only the latest
// ping needs one (RFC 6455, 5.5.3).
func (c *Conn) pong(payload []byte) {
	f := pongFrame(payload)
	c.mu.Lock()
	for i := c.heldLocked(); i < len(c.queue); i++ {
		if c.queue[i].kind == kindPong {
			c.bytes += f.Len() - c.queue[i].Len()
			c.queue[i] = f
			c.mu.Unlock()
			return
		}
	}
	c.mu.Unlock()
	c.Send(f)
}

// take gives the next frames to write, at most limit bytes unless one alone is
// larger, and how much of the first is written already. It is false, and the
// caller no longer owns the writing side, when there is nothing to do.
func (c *Conn) take(into []*Frame, limit int) (frames []*Frame, off int, ok bool) {
	c.mu.Lock()
	if len(c.queue) == 0 || c.phase >= closed {
		c.releaseLocked()
		return nil, 0, false
	}
	if c.raw == nil && c.writeBy.Load() == 0 { // a stream's write may wait at once
		c.renewLocked()
	}
	size := -c.off
	for _, f := range c.queue {
		if size += f.Len(); size > limit && len(into) > 0 {
			break
		}
		into = append(into, f)
	}
	c.inflight, off = len(into), c.off
	c.mu.Unlock()
	return into, off, true
}

// settle notes a write of n bytes, which completed so many whole frames and left
// off bytes of the next written. It is false when nothing is left; then the
// caller no longer owns the writing side. After an error the write counts for
// nothing and the socket is at its end.
func (c *Conn) settle(whole, off, n int, err error) bool {
	c.mu.Lock()
	last := whole > 0 && c.queue[whole-1].kind == kindClose
	c.removeLocked(whole)
	c.off, c.inflight = off, 0
	c.paceLocked(n)
	then := stay
	switch {
	case err != nil:
		c.abortLocked(obs.CloseGone)
		then = leave
	case last:
		then = c.saidGoodbyeLocked()
	}
	if len(c.queue) > 0 && c.phase < closed {
		c.mu.Unlock()
		return true
	}
	c.releaseLocked()
	c.do(then)
	return false
}

// removeLocked takes the first frames from the queue.
func (c *Conn) removeLocked(whole int) {
	for _, f := range c.queue[:whole] {
		c.bytes -= f.Len()
	}
	n := copy(c.queue, c.queue[whole:])
	clear(c.queue[n:])
	c.queue = c.queue[:n]
	if n == 0 && cap(c.queue) > keepQueue {
		c.queue = nil
	}
}

// paceLocked bounds how long the peer may take. What is queued when a write
// leaves something over has Config.WriteWait to be written; when it is, the same
// holds for what was queued in the meantime. So a peer is too slow when it takes
// longer than that for a queue's length, not when it is never quite up to date.
func (c *Conn) paceLocked(n int) {
	c.owed -= n
	switch {
	case len(c.queue) == 0:
		c.writeBy.Store(0)
	case c.writeBy.Load() == 0 || c.owed <= 0:
		c.renewLocked()
	}
}

func (c *Conn) renewLocked() {
	c.owed = c.bytes - c.off
	c.writeBy.Store(c.srv.now() + int64(c.srv.cfg.WriteWait))
}

// next is what the end of a socket needs once the lock is free.
type next uint8

const (
	stay   next = iota
	hangUp      // say that nothing more will be sent, read on
	leave       // cut the connection
)

// saidGoodbyeLocked decides what follows the written close frame.
func (c *Conn) saidGoodbyeLocked() next {
	c.phase = max(c.phase, closed)
	c.mute.Store(true)
	c.closeBy.Store(c.srv.now() + c.srv.closeWait())
	switch {
	case c.peerClosed:
		return leave
	case c.broken:
		return hangUp
	}
	return stay
}

// abortLocked ends the socket without a close frame.
func (c *Conn) abortLocked(why obs.CloseReason) {
	if c.phase == open {
		c.why = why
	}
	c.phase = max(c.phase, closed)
	c.mute.Store(true)
}

func (c *Conn) do(what next) {
	switch what {
	case stay:
	case hangUp:
		if half, ok := c.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			return
		}
		c.cut()
	case leave:
		c.cut()
	}
}

// releaseLocked gives up the writing side and the lock. Whoever comes last, the
// writer or the reader, reports the end.
func (c *Conn) releaseLocked() {
	c.dirty, c.inflight = false, 0
	over := c.readerDone && c.phase != gone
	if over {
		c.phase = gone
	}
	c.mu.Unlock()
	if over {
		c.report()
	}
}
