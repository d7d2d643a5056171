package ws

import (
	"context"
	"net/http"
	"time"

	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
)

// Config is what a [Server] needs to know. A zero field gets its default.
type Config struct {
	Subprotocol string        // must be offered; default "nova.v1"
	MaxMessage  int           // bytes of a message from a client; default 64 KiB
	QueueFrames int           // frames that may wait on one socket; default 1024
	QueueBytes  int           // bytes that may wait on one socket; default 256 KiB
	PingEvery   time.Duration // silence after which the peer is pinged; default 20 s
	PongWait    time.Duration // how long it may take to answer; default 10 s
	WriteWait   time.Duration // how long what is queued may take to be written; default 10 s
	CloseWait   time.Duration // how long the peer may take to answer a close; default 5 s

	// FramesPerSocket bounds the frames of each client, control frames
	// included; a zero rate sets no bound.
	FramesPerSocket limit.Rate
	// Origins says whether pages of that origin may connect. If nil, none may;
	// requests without Origin do not come from a page and are not asked about.
	Origins func(origin string, r *http.Request) bool
	// Accepted tells from a request's context when its connection was accepted.
	// If nil, or if it gives the zero time, the beginning of Upgrade counts.
	Accepted func(context.Context) time.Time
}

func (c Config) withDefaults() Config {
	orString(&c.Subprotocol, "nova.v1")
	orInt(&c.MaxMessage, 64<<10)
	orInt(&c.QueueFrames, 1024)
	orInt(&c.QueueBytes, 256<<10)
	orDuration(&c.PingEvery, 20*time.Second)
	orDuration(&c.PongWait, 10*time.Second)
	orDuration(&c.WriteWait, 10*time.Second)
	orDuration(&c.CloseWait, 5*time.Second)
	return c
}

func orString(s *string, def string) {
	if *s == "" {
		*s = def
	}
}

func orInt(n *int, def int) {
	if *n <= 0 {
		*n = def
	}
}

func orDuration(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// tick is how often the sockets are looked after: often enough that no bound is
// missed by more than an eighth, and never more than once a second by default.
func (c Config) tick() time.Duration {
	return max(time.Millisecond, min(time.Second, c.PingEvery/8, c.PongWait/8, c.WriteWait/8, c.CloseWait/8))
}

// Handler is what the owner of a socket wants to know. Any field may be nil.
// A panic in one of them closes the socket with 1011 and is counted.
type Handler struct {
	// Opened runs before anything is read, so that a state can be set.
	Opened func(c *Conn)
	// Text gets each message, in order, on the socket's reading goroutine. While
	// it runs nothing else is read from the socket. The payload is valid UTF-8
	// and belongs to the callee only during the call.
	Text func(c *Conn, payload []byte)
	// Written gets the frames of kind Message that the kernel has taken, in
	// order, after each write. The slice is valid only during the call. It
	// must not block: other sockets wait for the same goroutine.
	Written func(c *Conn, frames []*Frame, at time.Time)
	// Pinged runs on the reading goroutine when the peer sent a ping or a pong.
	Pinged func(c *Conn)
	// Closed runs once, after all other calls, when the connection is gone. It
	// must not block: it may run on a goroutine that writes other sockets.
	// unsent are the frames that were queued and not wholly written.
	Closed func(c *Conn, why obs.CloseReason, unsent []*Frame)
}
