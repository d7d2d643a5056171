package ws

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkEcho has 100 pairs in one process, each of which sends a message of
// 200 bytes and waits for the partner's to come through the server.
func BenchmarkEcho(b *testing.B) {
	s := newBench(b, Config{})
	var partner sync.Map
	s.h.Text = func(c *Conn, p []byte) {
		to, _ := partner.Load(c)
		to.(*Conn).Send(NewFrame(p, Message, time.Time{}))
	}
	const pairs = 100
	clients, conns := make([]*Client, 2*pairs), make([]*Conn, 2*pairs)
	for i := range clients {
		clients[i], conns[i] = s.dial(), s.conn()
	}
	for i := range pairs {
		x, y := conns[2*i], conns[2*i+1]
		partner.Store(x, y)
		partner.Store(y, x)
	}
	text := []byte(strings.Repeat("x", 200))
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range pairs {
		ping, pong := clients[2*i], clients[2*i+1]
		wg.Add(2)
		go func() {
			defer wg.Done()
			for left.Add(-1) >= 0 {
				if ping.WriteText(text) != nil {
					return
				}
				if _, err := ping.Read(); err != nil {
					return
				}
			}
			_ = ping.Close(1000, "")
			_ = pong.Close(1000, "")
		}()
		go func() {
			defer wg.Done()
			for {
				m, err := pong.Read()
				if err != nil || pong.WriteText(m) != nil {
					return
				}
			}
		}()
	}
	wg.Wait()
	b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkFanout delivers frames to n sockets in one process, a window of them at a time.
func BenchmarkFanout(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { fanout(b, n) })
	}
}

func fanout(b *testing.B, n int) {
	s := newBench(b, Config{QueueFrames: 1 << 20, QueueBytes: 1 << 30})
	const window = 8
	var read atomic.Int64
	credit := make(chan struct{}, window)
	for range window {
		credit <- struct{}{}
	}
	conns := make([]*Conn, n)
	var wg sync.WaitGroup
	for i := range n {
		c := s.dial()
		conns[i] = s.conn()
		wg.Go(func() {
			for {
				if _, err := c.Read(); err != nil {
					return
				}
				if read.Add(1)%int64(n) == 0 {
					credit <- struct{}{}
				}
			}
		})
	}
	text := []byte(strings.Repeat("x", 200))
	b.ResetTimer()
	for range b.N {
		<-credit
		f := NewFrame(text, Message, time.Time{})
		for _, c := range conns {
			c.Queue(f)
		}
		s.srv.Kick()
	}
	for range window {
		<-credit
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	for range window { // so that the stop finds nobody waiting
		credit <- struct{}{}
		<-credit
	}
	s.srv.Each(func(c *Conn) { c.Close(0, "") })
	wg.Wait()
}

// BenchmarkQueue is promise 8: one frame for 10,000 recipients.
func BenchmarkQueue(b *testing.B) {
	s := newBench(b, Config{})
	conns := socketless(s.srv, 10000)
	f := NewFrame(make([]byte, 1024), Message, time.Time{})
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range conns {
			c.Queue(f)
		}
		for _, c := range conns {
			c.queue, c.bytes, c.dirty = c.queue[:0], 0, false
		}
		for _, fl := range s.srv.flushers {
			fl.todo = fl.todo[:0]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(conns)), "ns/recipient")
}

// socketless makes sockets that can be queued on and nothing else.
func socketless(s *Server, n int) []*Conn {
	conns := make([]*Conn, n)
	for i := range conns {
		conns[i] = &Conn{}
		s.place(conns[i])
	}
	return conns
}

// TestIdleMemory tells what an idle socket costs. The clients' ends are in this
// process too, as bare connections. NOVA_WS_IDLE sets the number of sockets.
func TestIdleMemory(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("NOVA_WS_IDLE"))
	if err != nil {
		n = 500
	}
	b := newBench(t, Config{PingEvery: 300 * time.Millisecond, PongWait: time.Minute})
	var pongs atomic.Int64
	b.h.Text = func(c *Conn, p []byte) { c.Send(NewFrame([]byte(deep(40, string(p))), Control, time.Time{})) }
	b.h.Pinged = func(*Conn) { pongs.Add(1) }
	before := memory()
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = b.raw(fr(opText, "hello"))
		if g, err := peers[i].read(); err != nil || g.op != opText && g.op != opPing {
			t.Fatal(g, err)
		}
		peers[i].br = nil
		<-b.conns
	}
	greeted := memory()
	for round := range int64(3) {
		for _, p := range peers {
			p.send(fr(opPong, ""))
		}
		for pongs.Load() < int64(n)*(round+1) {
			runtime.Gosched()
		}
	}
	after := memory()
	t.Logf("%d sockets: greeted %s; idle %s (the client's end included)", n, greeted.per(before, n), after.per(before, n))
	if per := (after.StackInuse - before.StackInuse) / uint64(n); per > 2048+512 && !raced() {
		t.Errorf("%d bytes of stack for each idle socket", per)
	}
	for _, p := range peers {
		_ = p.nc.Close()
	}
}

// raced says whether this is a build with -race, whose stacks are larger.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// deep uses some stack, as a handler does.
func deep(n int, s string) string {
	var pad [200]byte
	pad[n] = s[0]
	if n == 0 {
		return s
	}
	return deep(n-1, s[:1]+s[1:]) + string(pad[:0])
}

type mem struct {
	runtime.MemStats
	rss int
}

func memory() mem {
	var m mem
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m.MemStats)
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, rss int
		_, _ = fmt.Sscan(string(b), &size, &rss)
		m.rss = rss * os.Getpagesize()
	}
	return m
}

func (m mem) per(before mem, n int) string {
	return fmt.Sprintf("stack %d, heap %d, rss %d bytes/socket", (int(m.StackInuse)-int(before.StackInuse))/n, (int(m.HeapAlloc)-int(before.HeapAlloc))/n, (m.rss-before.rss)/n)
}

// allocated reads the counters of the allocator without collecting first.
func allocated() (m mem) {
	runtime.ReadMemStats(&m.MemStats)
	return m
}
