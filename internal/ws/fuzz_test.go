package ws

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
)

// outcome is all that can be seen of a socket after some input.
type outcome struct {
	texts  []string
	queued []string
	why    obs.CloseReason
	phase  phase
}

// play feeds input in pieces to a socket that is never written.
func play(s *Server, pieces [][]byte) outcome {
	var out outcome
	c := &Conn{nc: nowhere{}, h: Handler{Text: func(_ *Conn, p []byte) { out.texts = append(out.texts, string(p)) }}}
	s.place(c)
	for _, p := range pieces {
		if !c.received(bytes.Clone(p)) {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.queue {
		out.queued = append(out.queued, string(f.wire))
	}
	out.why, out.phase = c.why, c.phase
	for _, f := range s.flushers {
		f.todo = nil
	}
	return out
}

// nowhere is a connection that can be closed.
type nowhere struct{ net.Conn }

func (nowhere) Close() error { return nil }

// FuzzReader checks that any bytes are read the same however they are cut, that
// nothing panics, and that what is kept is bounded by what was sent.
func FuzzReader(f *testing.F) {
	for _, rows := range [][]exchange{basics()[:5], framing(), fragmentation(), texts(), closes(), sizes()} {
		for _, row := range rows {
			if all := concat(row.send...); len(all) < 4096 {
				f.Add(all, []byte{1, 2, 3, 5, 8})
			}
		}
	}
	s := &Server{cfg: Config{MaxMessage: 2048}.withDefaults(), ping: pingFrame()}
	s.obs, _ = obs.New(obs.Config{Out: io.Discard})
	s.slow = closeFrame(4050, "")
	s.flushers = []*flusher{newFlusher()}
	s.frameEvery, s.frameBurst = 1<<40, int64(limit.Rate{Burst: 300}.Burst)
	f.Fuzz(func(t *testing.T, input, cuts []byte) {
		if len(input) > 1<<16 {
			return
		}
		whole := play(s, [][]byte{input})
		pieces := cut(input, cuts)
		parts := play(s, pieces)
		if !slices.Equal(whole.texts, parts.texts) || !slices.Equal(whole.queued, parts.queued) || whole.why != parts.why || whole.phase != parts.phase {
			t.Errorf("in one piece %+v, in %d pieces %+v", whole, len(pieces), parts)
		}
	})
}

// cut divides input at the distances that cuts gives, over and over.
func cut(input, cuts []byte) (pieces [][]byte) {
	for i := 0; len(input) > 0; i++ {
		n := len(input)
		if len(cuts) > 0 {
			n = min(n, int(cuts[i%len(cuts)])+1)
		}
		pieces, input = append(pieces, input[:n]), input[n:]
	}
	return pieces
}

// TestNothingIsAllocatedByAnnouncement keeps a socket from reserving what a
// header promises.
func TestNothingIsAllocatedByAnnouncement(t *testing.T) {
	b := newBench(t, Config{})
	c := socketless(b.srv, 1)[0]
	if !c.received(fr(opText, string(make([]byte, 64<<10)))[:20]) || cap(c.reader.in) > 64 {
		t.Errorf("%d bytes are kept for 20", cap(c.reader.in))
	}
	for range 1000 {
		c.received([]byte{0})
	}
	if n := len(c.reader.in); n != 1020 || cap(c.reader.in) > 2*n {
		t.Errorf("%d bytes are kept for %d", cap(c.reader.in), n)
	}
}

// TestQueueBudget is promise 8: a recipient of a shared frame costs at most one
// allocation and 64 bytes, and gets the very same bytes.
func TestQueueBudget(t *testing.T) {
	b := newBench(t, Config{})
	const n = 10000
	conns := socketless(b.srv, n)
	f := NewFrame(make([]byte, 1024), Message, testTime)
	before := memory()
	for _, c := range conns {
		c.Queue(f)
	}
	after := allocated()
	if per := float64(after.Mallocs-before.Mallocs) / n; per > 1.01 {
		t.Errorf("%.2f allocations per recipient", per)
	}
	if per := float64(after.TotalAlloc-before.TotalAlloc) / n; per > 64 {
		t.Errorf("%.1f bytes per recipient", per)
	}
	for _, c := range conns {
		if len(c.queue) != 1 || &c.queue[0].Payload()[0] != &f.Payload()[0] {
			t.Fatal("a recipient has a payload of its own")
		}
	}
}
