package messaging

import "context"

// While the last of the log is on its way to a socket, the hub gives it events
// already. They are held back here and then handed over as the client takes
// them. What is held is bounded as the queue of a live socket is; when that is
// not enough nothing is lost, for all of it is in the log: it is dropped, and
// the socket reads on there until it has come close again. So a client that is
// slower than what happens is not cut off: it stays behind as far as it is slow.

// The bounds of a socket's queue, and of what is held back for it.
const (
	queueFrames = 1024
	queueBytes  = 256 << 10
)

type heldFrame struct {
	delivery delivery
}

// hold keeps an event back; so.mu is held.
func (so *socket) hold(d *delivery) {
	if d.hint != nil && d.hint.Ephemeral {
		return
	}
	if n := len(so.held); n >= queueFrames || n > 0 && so.heldBytes+d.frame.Len() > queueBytes {
		so.holdNothing()
		so.phase = catching // from here on events pass it by, until it joins again
		return
	}
	so.held = append(so.held, heldFrame{*d})
	so.heldBytes += d.frame.Len()
}

// holdNothing forgets what is held back; so.mu is held.
func (so *socket) holdNothing() { so.held, so.heldBytes = nil, 0 }

// join lets events be held back and gives the position after which they are;
// false if the socket has ended.
func (c *catcher) join() (upTo int64, ok bool) {
	before := func(applied int64) {
		upTo = applied
		c.so.setPhase(holding)
	}
	if c.joined {
		ok = c.so.s.hub.rejoin(c.so, before)
		return upTo, ok
	}
	c.joined = c.so.join(before)
	return upTo, c.joined
}

// rejoin is join for a socket that has joined before and let events pass since.
func (h *hub) rejoin(so *socket, before func(applied int64)) bool {
	h.joining.Lock()
	defer h.joining.Unlock()
	if h.sessions[so.who.SessionID] != so {
		return false
	}
	before(h.applied.Load())
	return true
}

// release hands over what is held back as the client takes it, and then makes
// the socket live. It is not live if so much came that it was dropped, or if
// the socket has ended.
func (c *catcher) release(ctx context.Context) (isLive bool, err error) {
	for {
		isLive, more := c.handOver()
		if !more {
			return isLive, nil
		}
		if err := c.wait(ctx); err != nil {
			return false, err
		}
	}
}

// handOver queues as much of what is held back as the queue should take. When
// nothing is left the socket is live from then on.
func (c *catcher) handOver() (isLive, more bool) {
	so := c.so
	so.mu.Lock()
	defer so.mu.Unlock()
	if so.phase != holding {
		return false, false
	}
	n := 0
	for n < len(so.held) && !so.isFull() {
		d := &so.held[n].delivery
		so.queue(d)
		so.heldBytes -= d.frame.Len()
		if d.envelope.Type == typeMessage {
			c.has(d.envelope.Key, d.envelope.Seq)
		}
		n++
	}
	clear(so.held[:n])
	if so.held = so.held[n:]; len(so.held) > 0 {
		return false, true
	}
	so.holdNothing()
	so.own.settle()
	so.phase = live
	so.conn.Queue(liveFrame)
	return true, false
}

// isFull says whether the client has to take something before more is queued
// for catching up.
func (so *socket) isFull() bool {
	frames, bytes := so.conn.Pending()
	return frames >= catchUpPage || bytes >= catchUpBytes
}
