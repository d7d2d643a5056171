package ws

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// flusher writes the sockets that were given to it and never waits for one.
type flusher struct {
	armed atomic.Bool // something was added since the last wake-up
	wake  chan struct{}

	mu   sync.Mutex
	todo []*Conn
}

func newFlusher() *flusher { return &flusher{wake: make(chan struct{}, 1)} }

func (f *flusher) add(c *Conn) {
	f.mu.Lock()
	f.todo = append(f.todo, c)
	f.mu.Unlock()
	f.armed.Store(true)
}

func (f *flusher) wakeUp() {
	if f.armed.Load() && f.armed.Swap(false) {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// keepTodo is the capacity of a list of sockets that is not given back.
const keepTodo = 4096

// run writes until ctx ends.
func (f *flusher) run(ctx context.Context) {
	w := newWriter(coalesce)
	w.put = (*writer).putNow
	var todo []*Conn
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		runtime.Gosched() // answers and messages that are about to be queued go in the same writes
		f.mu.Lock()
		todo, f.todo = f.todo, todo[:0]
		f.mu.Unlock()
		for i, c := range todo {
			todo[i] = nil
			w.flush(c)
		}
		if cap(todo) > keepTodo {
			todo = nil
		}
	}
}

// coalesce is how many bytes go into one write.
const coalesce = 64 << 10

// writer is what one goroutine needs to write sockets, whichever they are.
type writer struct {
	buf    []byte
	frames []*Frame // being written
	done   []*Frame // for Handler.Written
	put    func(w *writer, c *Conn, p []byte) (int, error)

	try func(fd uintptr) bool // made once: a closure for each write would be garbage
	fd  uintptr
	out []byte
	n   int
	err error
}

func newWriter(size int) *writer {
	w := &writer{buf: make([]byte, size)}
	w.try = func(fd uintptr) bool {
		w.n, w.err = sysWrite(fd, w.out)
		return true
	}
	return w
}

// putNow writes what the kernel takes without waiting.
func (w *writer) putNow(c *Conn, p []byte) (int, error) {
	w.out = p
	err := c.raw.Write(w.try)
	w.out = nil
	if err != nil {
		return 0, err
	}
	return w.n, w.err
}

// putHere is putNow inside of a callback that has the descriptor.
func (w *writer) putHere(_ *Conn, p []byte) (int, error) { return sysWrite(w.fd, p) }

// putStream waits until all is written.
func (w *writer) putStream(c *Conn, p []byte) (int, error) { return c.nc.Write(p) }

// maxSteps bounds the writes to one socket before the others have their turn.
const maxSteps = 16

// flush writes what the kernel takes; a socket that would have to wait goes on
// in a goroutine of its own.
func (w *writer) flush(c *Conn) {
	for range maxSteps {
		if c.raw == nil {
			break
		}
		switch w.step(c) {
		case idle:
			return
		case blocked:
			c.startWaiting()
			return
		case more:
		}
	}
	c.startWaiting()
}

// progress is how a step went.
type progress uint8

const (
	idle    progress = iota // nothing is left, or nothing can be written any more
	more                    // there is more to write
	blocked                 // the kernel takes no more for now
)

// step makes one write. The caller owns the writing side of c until idle.
func (w *writer) step(c *Conn) progress {
	frames, off, ok := c.take(w.frames[:0], len(w.buf))
	if !ok {
		return idle
	}
	w.frames = frames
	p := w.join(frames, off)
	n, err := w.put(w, c, p)
	whole, rest := advance(frames, off+n)
	if whole > 0 && c.h.Written != nil {
		w.report(c, frames[:whole])
	}
	clear(frames)
	switch left := c.settle(whole, rest, n, err); {
	case !left:
		return idle
	case n < len(p):
		return blocked
	}
	return more
}

// join gives the bytes of frames from off on, one after the other.
func (w *writer) join(frames []*Frame, off int) []byte {
	if len(frames) == 1 {
		return frames[0].wire[off:]
	}
	n := copy(w.buf, frames[0].wire[off:])
	for _, f := range frames[1:] {
		n += copy(w.buf[n:], f.wire)
	}
	return w.buf[:n]
}

// advance says how many frames n bytes cover, and how many bytes are left over.
func advance(frames []*Frame, n int) (whole, rest int) {
	for whole < len(frames) && n >= frames[whole].Len() {
		n -= frames[whole].Len()
		whole++
	}
	return whole, n
}

// report tells the owner which messages the kernel has taken.
func (w *writer) report(c *Conn, frames []*Frame) {
	defer c.guard("ws.written")
	w.done = w.done[:0]
	for _, f := range frames {
		if f.kind == Message {
			w.done = append(w.done, f)
		}
	}
	if len(w.done) > 0 {
		c.h.Written(c, w.done, time.Now())
		clear(w.done)
	}
}

// borrowWriter gives a writer to a goroutine that waits for a socket. It holds
// one only while the kernel takes bytes.
func (s *Server) borrowWriter() *writer {
	if w, ok := s.writers.Get().(*writer); ok {
		return w
	}
	return newWriter(coalesce / 4)
}

// startWaiting goes on writing in a goroutine that may wait. It ends when
// nothing is left, or when the sweeper finds that it takes too long and cuts.
func (c *Conn) startWaiting() {
	c.srv.group.Go(c.context(), "ws.wait", func(context.Context) {
		if c.raw == nil {
			c.writeStream()
			return
		}
		c.writeWhenReady()
	})
}

// writeStream writes a connection that has no descriptor.
func (c *Conn) writeStream() {
	w := c.srv.borrowWriter()
	defer c.srv.writers.Put(w)
	w.put = (*writer).putStream
	for w.step(c) != idle {
	}
}

func (c *Conn) writeWhenReady() {
	err := c.raw.Write(func(fd uintptr) bool {
		w := c.srv.borrowWriter()
		defer c.srv.writers.Put(w)
		w.fd, w.put = fd, (*writer).putHere
		for {
			switch w.step(c) {
			case idle:
				return true
			case blocked:
				return false
			case more:
			}
		}
	})
	if err != nil {
		c.settle(0, 0, 0, err)
	}
}
