package ws

import (
	"context"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

const (
	readSize   = 16 << 10 // one buffer for whoever has something to read
	streamSize = 2 << 10  // each connection without a descriptor keeps one
)

type readBuffer [readSize]byte

func (s *Server) borrowBuffer() *readBuffer {
	if b, ok := s.buffers.Get().(*readBuffer); ok {
		return b
	}
	return new(readBuffer)
}

// startReading starts the goroutine of a socket. When the socket falls idle its
// goroutine ends and another begins, because a goroutine that only waits needs
// the smallest stack there is, and one that has handled anything keeps twice that.
func (c *Conn) startReading() { c.srv.group.Go(c.context(), "ws.read", c.read) }

func (c *Conn) read(context.Context) {
	switch {
	case len(c.reader.in) > 0 && !c.received(nil): // what came with the upgrade request
	case c.raw == nil:
		c.readStream()
	case c.readRaw():
		c.startReading()
		return
	}
	c.finish()
}

// readRaw reads whenever there is something to read, and holds a buffer only
// then. It is true when the goroutine should begin afresh, false at the end.
func (c *Conn) readRaw() (afresh bool) {
	_ = c.raw.Read(func(fd uintptr) bool {
		var end bool
		end, afresh = c.readSome(fd)
		return end || afresh
	})
	return afresh
}

// readSome reads until there is nothing more to read for now.
func (c *Conn) readSome(fd uintptr) (end, afresh bool) {
	buf := c.srv.borrowBuffer()
	defer c.srv.buffers.Put(buf)
	settled := false
	for {
		n, wait, err := sysRead(fd, buf[:])
		switch {
		case wait:
			return false, settled
		case n <= 0 || err != nil || !c.received(buf[:n]):
			return true, false
		}
		settled = c.settledDown()
	}
}

// settledDown says whether the socket seems to fall idle: its first message was
// handled just now, or all that came was a ping or a pong.
func (c *Conn) settledDown() bool {
	r := &c.reader
	first := r.texts && !r.greeted
	r.greeted = r.greeted || r.texts
	return first || r.pings && !r.texts
}

func (c *Conn) readStream() {
	buf := make([]byte, streamSize)
	for {
		n, err := c.nc.Read(buf)
		if n > 0 && !c.received(buf[:n]) || err != nil {
			return
		}
	}
}

// finish is the reading goroutine's last act.
func (c *Conn) finish() {
	_ = c.nc.Close()
	c.mu.Lock()
	c.abortLocked(obs.CloseGone)
	c.readerDone = true
	over := !c.dirty && c.phase != gone
	if over {
		c.phase = gone
	}
	c.mu.Unlock()
	if over {
		c.report()
		return
	}
	c.flusher.wakeUp() // the writer reports, which may not have begun
}

// report says, once, that the socket is gone. Nobody reads or writes any more.
func (c *Conn) report() {
	c.srv.remove(c)
	c.mu.Lock()
	unsent, why := c.unsentLocked(), c.why
	waiters := c.waiters
	c.queue, c.unsent, c.waiters = nil, nil, nil
	c.mu.Unlock()
	c.srv.obs.Metrics.SocketCloses.Inc(why)
	defer waiters.tell()
	if c.h.Closed != nil {
		defer c.guard("ws.closed")
		c.h.Closed(c, why, unsent)
	}
}

// unsentLocked lists what the owner queued and was not wholly written.
func (c *Conn) unsentLocked() []*Frame {
	var all []*Frame
	for _, f := range c.queue {
		if f.kind < kindPing {
			all = append(all, f)
		}
	}
	return append(all, c.unsent...)
}

// guard is deferred around the owner's code.
func (c *Conn) guard(where string) {
	if v := recover(); v != nil {
		c.srv.obs.Metrics.Panics.Inc(obs.PanicSocket)
		run.LogPanic(c.context(), c.srv.obs.Log(obs.Messaging), where, v)
		c.Close(obs.CloseInternal, "")
	}
}
