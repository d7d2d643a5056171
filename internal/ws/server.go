package ws

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// Server holds the sockets of this process. Make one with [NewServer].
type Server struct {
	obs      *obs.Obs
	group    *run.Group
	cfg      Config
	start    time.Time // the zero of the server's clock
	flushers []*flusher
	shards   [shards]shard
	count    atomic.Int64
	serial   atomic.Uint64
	stopping atomic.Bool
	entering sync.RWMutex // held shared by upgrades, so that stopping waits for them
	writers  sync.Pool    // of *writer, for goroutines that wait for a socket
	buffers  sync.Pool    // of *readBuffer, for whoever has something to read

	frameEvery, frameBurst int64 // FramesPerSocket in the bucket's terms

	ping, slow *Frame // the same for all sockets
}

const shards = 16

// shard holds a part of the sockets, so that opening and closing do not queue up.
type shard struct {
	mu    sync.Mutex
	conns []*Conn
}

// stopWait is how long the step that closes the sockets may take; the drain
// that comes before it leaves none under normal conditions.
const stopWait = 8 * time.Second

// NewServer makes a server and starts what writes and looks after its sockets.
// Its stop step closes the sockets that are left with CloseShutdown.
func NewServer(o *obs.Obs, g *run.Group, cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{obs: o, group: g, cfg: cfg, start: time.Now(), ping: pingFrame()}
	s.slow = verdictOf(obs.CloseSlow).frame("")
	if r := cfg.FramesPerSocket; r.PerSecond > 0 {
		s.frameEvery, s.frameBurst = int64(float64(time.Second)/r.PerSecond), int64(max(r.Burst, 1))
	}
	for range runtime.GOMAXPROCS(0) {
		f := newFlusher()
		s.flushers = append(s.flushers, f)
		g.Worker("ws.flush", time.Second, f.run)
	}
	g.Worker("ws.sweep", time.Second, s.sweep)
	g.OnStop("ws.sockets", stopWait, s.stop)
	return s
}

// now is the server's clock, in nanoseconds; it is never 0.
func (s *Server) now() int64 { return int64(time.Since(s.start)) + 1 }

// closeWait is shorter than configured by a tick, because that is how late the
// sweeper may be.
func (s *Server) closeWait() int64 { return int64(s.cfg.CloseWait - s.cfg.tick()) }

// Kick wakes the writing goroutines after a batch of [Conn.Queue].
func (s *Server) Kick() {
	for _, f := range s.flushers {
		f.wakeUp()
	}
}

// Count is the number of open sockets.
func (s *Server) Count() int { return int(s.count.Load()) }

// Each calls f for every socket that is open when its turn comes.
func (s *Server) Each(f func(*Conn)) {
	var all []*Conn
	for i := range s.shards {
		all = s.shards[i].list(all[:0])
		for _, c := range all {
			f(c)
		}
	}
}

func (sh *shard) list(into []*Conn) []*Conn {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return append(into, sh.conns...)
}

// place gives a new socket its flusher and its shard.
func (s *Server) place(c *Conn) {
	n := s.serial.Add(1)
	c.srv = s
	c.flusher = s.flushers[n%uint64(len(s.flushers))]
	c.shard = &s.shards[n%shards]
	c.lastRead.Store(s.now())
}

func (s *Server) add(c *Conn) {
	c.shard.mu.Lock()
	c.slot = len(c.shard.conns)
	c.shard.conns = append(c.shard.conns, c)
	c.shard.mu.Unlock()
	s.count.Add(1)
}

func (s *Server) remove(c *Conn) {
	sh := c.shard
	sh.mu.Lock()
	last := len(sh.conns) - 1
	sh.conns[c.slot] = sh.conns[last]
	sh.conns[c.slot].slot = c.slot
	sh.conns[last] = nil
	sh.conns = sh.conns[:last]
	sh.mu.Unlock()
	s.count.Add(-1)
}

// descriptor gives raw access to a connection that has a descriptor. TLS and
// pipes have none.
func descriptor(nc any) syscall.RawConn {
	sc, ok := nc.(syscall.Conn)
	if !ok || !rawSockets {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// sweep looks after the sockets until ctx ends: one ticker for all of them.
func (s *Server) sweep(ctx context.Context) {
	t := time.NewTicker(s.cfg.tick())
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			now := s.now()
			s.Each(func(c *Conn) { c.check(now) })
			s.Kick()
		}
	}
}

// check ends what takes too long and pings who is silent.
func (c *Conn) check(now int64) {
	if by := c.closeBy.Load(); by != 0 {
		if now >= by {
			c.cut()
		}
		return
	}
	if by := c.writeBy.Load(); by != 0 && now >= by {
		c.abort(obs.CloseSlow)
		return
	}
	last := c.lastRead.Load()
	if last >= c.pingedAt {
		c.pingedAt = 0
	}
	switch {
	case c.pingedAt == 0 && now-last >= int64(c.srv.cfg.PingEvery):
		c.pingedAt = now
		c.Queue(c.srv.ping)
	case c.pingedAt != 0 && now-c.pingedAt >= int64(c.srv.cfg.PongWait):
		c.Close(obs.ClosePing, "")
	}
}

// abort cuts the connection without a close frame.
func (c *Conn) abort(why obs.CloseReason) {
	c.mu.Lock()
	c.abortLocked(why)
	c.mu.Unlock()
	c.cut()
}
