package messaging

import (
	"time"

	"github.com/nova-chat/nova/internal/outbox"
)

// ends are the heads of conversations as this process left them. They hold as long
// as no other process has taken a position since, because whoever changes a head, or
// a membership, takes one. Whatever changes a head in this process, other than a
// message, would have to forget it here; nothing does. Only the writer's goroutine
// uses them.
type ends struct {
	streak int // of positions that this process took, in which they were left
	heads  map[int64]head
	from   time.Time // when they may be used again
}

const (
	maxEnds  = 1 << 14
	mistrust = time.Second // after another process was found to write too
)

// recall fills in the heads, and says after which position they hold; ok is false if
// they are not all remembered.
func (e *ends) recall(ob *outbox.Outbox, nos []int64, into map[int64]*head) (last int64, ok bool) {
	last, streak := ob.LastTaken()
	if streak != e.streak || time.Now().Before(e.from) {
		return 0, false
	}
	for _, no := range nos {
		if _, ok := e.heads[no]; !ok {
			return 0, false
		}
	}
	for _, no := range nos {
		h := e.heads[no]
		h.hadSeq = h.lastSeq
		into[no] = &h
	}
	return last, true
}

// keep notes the heads of a commit that took positions.
func (e *ends) keep(ob *outbox.Outbox, heads map[int64]*head) {
	if _, streak := ob.LastTaken(); streak != e.streak || len(e.heads) >= maxEnds {
		e.streak, e.heads = streak, nil
	}
	if e.heads == nil {
		e.heads = make(map[int64]head, len(heads))
	}
	for no, h := range heads {
		if h != nil {
			e.heads[no] = *h
		}
	}
}

// missed is called when somebody else has written.
func (e *ends) missed() { e.from, e.heads = time.Now().Add(mistrust), nil }
