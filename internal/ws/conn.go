package ws

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// Conn is one client's socket. All methods are safe for concurrent use.
type Conn struct {
	srv         *Server
	nc          net.Conn
	raw         syscall.RawConn // nil if nc gives no descriptor, as TLS does
	h           Handler
	id          string
	correlation obs.Correlation
	acceptedAt  time.Time
	state       atomic.Pointer[any]
	flusher     *flusher
	shard       *shard
	slot        int // place in the shard, guarded by its lock

	lastRead atomic.Int64 // when bytes came, on the server's clock
	closeBy  atomic.Int64 // when the connection is cut at the latest; 0 = open
	writeBy  atomic.Int64 // when what is queued must be written; 0 = nothing waits
	mute     atomic.Bool  // messages are not handled any more
	pingedAt int64        // belongs to the sweeper; 0 = no ping is out

	reader reader // belongs to the reading goroutine

	mu         sync.Mutex // guards what follows
	queue      []*Frame   // not wholly written, the first maybe in part
	unsent     []*Frame   // given up
	waiters    *waiter    // who wants to know when it is over
	bytes      int        // of the queue
	off        int        // bytes of queue[0] that are written
	owed       int        // bytes to write until writeBy
	inflight   int        // frames that somebody is writing just now
	phase      phase
	why        obs.CloseReason
	dirty      bool // somebody writes, or is going to
	peerClosed bool // the peer's close frame was read
	broken     bool // nothing more can be understood: end without the peer's close
	readerDone bool
}

// phase is how far the end of a socket has come.
type phase uint8

const (
	open    phase = iota
	closing       // the close frame is queued
	closed        // the close frame is written, or never will be
	gone          // Handler.Closed has been or is being called
)

// ID is the socket's own identifier.
func (c *Conn) ID() string { return c.id }

// Correlation is the correlation ID of the upgrade request.
func (c *Conn) Correlation() obs.Correlation { return c.correlation }

// AcceptedAt is when the connection was accepted.
func (c *Conn) AcceptedAt() time.Time { return c.acceptedAt }

// SetState keeps a value of the owner's.
func (c *Conn) SetState(v any) { c.state.Store(&v) }

// State is the value that was last given to SetState, nil before.
func (c *Conn) State() any {
	if p := c.state.Load(); p != nil {
		return *p
	}
	return nil
}

// Send queues a frame and wakes the writing goroutines.
func (c *Conn) Send(f *Frame) {
	if c.Queue(f) {
		c.flusher.wakeUp()
	}
}

// Close ends the socket: what is queued is written first, then a close frame
// with the reason's code. The connection is cut when the peer has answered, or
// after Config.CloseWait. An empty text means the reason's own. Only the first
// reason counts.
func (c *Conn) Close(why obs.CloseReason, text string) {
	c.mu.Lock()
	first := c.closeLocked(why, verdictOf(why).frame(text))
	c.mu.Unlock()
	if !first {
		return
	}
	if verdictOf(why).code == 0 {
		c.cut()
		return
	}
	c.flusher.wakeUp()
}

// closeLocked begins the end; false if it has begun before.
func (c *Conn) closeLocked(why obs.CloseReason, last *Frame) bool {
	if c.phase != open {
		return false
	}
	v := verdictOf(why)
	c.phase, c.why = closing, why
	if v.deaf {
		c.mute.Store(true)
	}
	if v.drop {
		c.giveUpLocked()
	}
	c.closeBy.Store(c.srv.now() + c.srv.closeWait())
	if v.code == 0 {
		c.phase = closed
		return true
	}
	c.queue = append(c.queue, last)
	c.bytes += last.Len()
	c.markLocked()
	return true
}

// cut ends the connection; the reading goroutine notices and does the rest. A
// connection with a descriptor is only shut down here: closing it would wait for
// the reader, which may be the caller.
func (c *Conn) cut() {
	if c.raw != nil {
		_ = c.raw.Control(sysShutdown)
		return
	}
	_ = c.nc.Close()
}

// context carries the socket's correlation ID and nothing else: the request's
// own context would keep the request in memory.
func (c *Conn) context() context.Context {
	return obs.WithCorrelation(context.Background(), c.correlation)
}
