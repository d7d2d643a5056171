package sqldb

import (
	"slices"
	"sync"

	"github.com/nova-chat/nova/internal/fault"
)

const (
	groupSize  = 512   // requests of batches, and closures, that share a commit at most
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

// queue holds what waits for the writer: requests of batches and closures, each in
// the order of arrival.
type queue struct {
	mu       sync.Mutex
	batches  []part // a batch stands here once for each of its requests
	closures []part
	limit    int // how many may wait
	closed   bool
	wake     chan struct{}
}

// add puts a request of p at the end; join, if any, is called
// under the lock.
func (q *queue) add(p part, join func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return stopped()
	}
	if len(q.batches)+len(q.closures) >= q.limit {
		return fault.New(fault.CodeOverloaded, "too many writes are waiting")
	}
	if p.divisible() {
		q.closures = append(q.closures, p)
	} else {
		q.batches = append(q.batches, p)
	}
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
// queue is closed. Batches come first, since closures for which there is no time may
// be put back. If owed is set one closure is a group of its own: beside batches that
// take all the time it could make that too short for both.
func (q *queue) take(parts []part, owed bool) (_ []part, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if owed && len(q.closures) > 0 {
		return shift(parts, &q.closures, 1), q.closed
	}
	parts = shift(parts, &q.batches, groupSize)
	parts = shift(parts, &q.closures, groupSize)
	return parts, q.closed
}

// shift moves the first n of the waiting into parts, each part once.
func shift(parts []part, waiting *[]part, n int) []part {
	all := *waiting
	n = min(n, len(all))
	for _, p := range all[:n] {
		if p.take() {
			parts = append(parts, p)
		}
	}
	rest := copy(all, all[n:])
	clear(all[rest:])
	*waiting = all[:rest]
	return parts
}

// putBack puts closures that had no turn before all others.
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
	q.closures = slices.Insert(q.closures, 0, back...)
}

// size is how many requests wait.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.batches) + len(q.closures)
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
