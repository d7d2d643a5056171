package sqldb

import (
	"slices"
	"sync"

	"github.com/nova-chat/nova/internal/fault"
)

const (
	groupSize  = 512   // requests that share a commit at most
	maxWaiting = 16384 // requests that wait for one at most, unless configured
)

// part is where requests come from: a batch, or a single write. Only the writer
// calls it; take, under the queue's lock.
type part interface {
	take() (first bool)             // the oldest waiting request joins the group
	begin()                         // leaves out requests that nobody waits for any more
	putBack() (waits bool)          // its turn did not come after all; false if nobody waits for it
	size() int                      // the requests of the group that are left
	run(tx *Tx, from, to int) error // an error takes back all that these requests wrote
	settle(from, to int, err error) // answers them; nil = committed
	clear()                         // the group is over
	divisible() bool                // it is one request, whose refusal can be taken back alone
	refuse(err error)               // that was done
}

// queue holds what waits for the writer, in the order of arrival.
type queue struct {
	mu      sync.Mutex
	waiting []part // a part stands here once for each of its requests
	limit   int    // how many may wait
	closed  bool
	wake    chan struct{}
}

// add puts a request of p at the end; join, if any, is called
// under the lock.
func (q *queue) add(p part, join func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return stopped()
	}
	if len(q.waiting) >= q.limit {
		return fault.New(fault.CodeOverloaded, "too many writes are waiting")
	}
	q.waiting = append(q.waiting, p)
	if join != nil {
		join()
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// take moves the next group into parts, each part once, and says whether the
// queue is closed.
func (q *queue) take(parts []part) (_ []part, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), groupSize)
	for _, p := range q.waiting[:n] {
		if p.take() {
			parts = append(parts, p)
		}
	}
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:])
	q.waiting = q.waiting[:rest]
	return parts, q.closed
}

// putBack puts what had no turn before all that waits.
func (q *queue) putBack(parts []part) {
	back := parts[:0]
	for _, p := range parts {
		if p.putBack() {
			back = append(back, p)
		}
	}
	if len(back) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.Insert(q.waiting, 0, back...)
}

// size is how many requests wait.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// close lets nothing more in.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
