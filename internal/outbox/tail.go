package outbox

import (
	"sync"

	"github.com/nova-chat/nova/internal/bus"
)

const (
	chunkSize  = 512            // events; a power of two
	chunkCount = 128            // chunks, so 65,536 events; a power of two
	tailBytes  = 64 << 20       // payload bytes
	chunkMask  = chunkSize - 1  // of a position: the place in its chunk
	ringMask   = chunkCount - 1 // of a chunk's number: the place in the ring
)

// tail holds the latest committed events by position, for all relays together.
// Each relay reads at its own pace; one that is too slow finds a chunk gone and
// reads the database. A slot is written once and never changed, so relays read
// the slots that they were given without the lock.
type tail struct {
	mu    sync.Mutex // guards what follows
	ring  [chunkCount]*chunk
	bytes int
	first int64 // the lowest position that this process committed, 0 = none
	last  int64 // the highest position that this process committed
	known int64 // the highest position known to be committed by anybody
	freed int64 // every relay has passed what is up to here
}

type chunk struct {
	base  int64 // position of the first slot
	bytes int   // of payload
	slots [chunkSize]bus.Envelope
}

// add takes committed events, in any order; it is true if any was news. own
// says that this process committed them.
func (t *tail) add(batch []bus.Envelope, own bool) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range batch {
		e := &batch[i]
		if own {
			t.note(e.Pos)
		}
		if e.Pos <= t.freed {
			continue
		}
		c := t.chunk(e.Pos)
		if c == nil || c.slots[e.Pos&chunkMask].Pos == e.Pos {
			continue
		}
		news = true
		t.known = max(t.known, e.Pos)
		c.slots[e.Pos&chunkMask] = *e
		c.bytes += len(e.Payload)
		t.bytes += len(e.Payload)
	}
	for t.bytes > tailBytes && t.dropOldest() {
	}
	return news
}

func (t *tail) note(pos int64) {
	if t.first == 0 || pos < t.first {
		t.first = pos
	}
	t.last = max(t.last, pos)
	t.known = max(t.known, pos)
}

// chunk gives the chunk for a position, in place of an older one if need be; nil
// if a newer one is there.
func (t *tail) chunk(pos int64) *chunk {
	base := pos &^ chunkMask
	at := &t.ring[(pos/chunkSize)&ringMask]
	switch c := *at; {
	case c != nil && c.base == base:
		return c
	case c != nil && c.base > base:
		return nil
	case c != nil:
		t.bytes -= c.bytes
	}
	*at = &chunk{base: base}
	return *at
}

// dropOldest is false if only the newest chunk is left.
func (t *tail) dropOldest() bool {
	oldest, n := -1, 0
	for i, c := range t.ring {
		if c == nil {
			continue
		}
		n++
		if oldest < 0 || c.base < t.ring[oldest].base {
			oldest = i
		}
	}
	if n < 2 {
		return false
	}
	t.bytes -= t.ring[oldest].bytes
	t.ring[oldest] = nil
	return true
}

// after gives events that follow a position without a gap: none if the next one
// is not here, and not necessarily all that are. last is the highest position
// known to be committed.
func (t *tail) after(pos int64) (run []bus.Envelope, last int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	pos++
	c := t.ring[(pos/chunkSize)&ringMask]
	if c == nil || c.base != pos&^chunkMask {
		return nil, t.known
	}
	from := int(pos & chunkMask)
	to := from
	for to < chunkSize && c.slots[to].Pos == c.base+int64(to) && c.slots[to].Pos != 0 {
		to++
	}
	return c.slots[from:to:to], t.known
}

// release lets go of chunks that every relay has passed.
func (t *tail) release(upTo int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.freed = max(t.freed, upTo)
	for i, c := range t.ring {
		if c != nil && c.base+chunkMask <= upTo {
			t.bytes -= c.bytes
			t.ring[i] = nil
		}
	}
}

// learn notes the highest committed position as the database has it; it is true
// if that was news.
func (t *tail) learn(last int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	news := last > t.known
	t.known = max(t.known, last)
	return news
}

func (t *tail) end() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known
}

// own gives the lowest and the highest position that this process committed.
func (t *tail) own() (first, last int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first, t.last
}
