package bus

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
)

const (
	pauseAt  = 2000 // records that wait; more are not fetched
	resumeAt = 500
)

// partition is what waits of one partition, and the worker that handles it in order.
type partition struct {
	place
	queue *kafkaQueue

	stop chan struct{} // closed when the partition goes
	done chan struct{} // closed when the worker has ended
	wake chan struct{} // has room for one

	handled   atomic.Pointer[kgo.Record] // the last one
	committed *kgo.Record                // guarded by the queue's committing

	mu      sync.Mutex // guards what follows
	waiting []*kgo.Record
	paused  bool
}

func newPartition(q *kafkaQueue, at place) *partition {
	return &partition{place: at, queue: q, stop: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// add is called between a poll and the next rebalance, so the partition is ours.
func (p *partition) add(records []*kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, records...)
	if !p.paused && len(p.waiting) >= pauseAt {
		p.paused = true
		p.queue.client.PauseFetchPartitions(p.list())
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (at place) list() map[string][]int32 { return map[string][]int32{at.topic: {at.number}} }

// resume lets the partition be fetched again, by whomever it is given to.
func (p *partition) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		p.paused = false
		p.queue.client.ResumeFetchPartitions(p.list())
	}
}

// run handles records until the partition goes or ctx ends.
func (p *partition) run(ctx context.Context) {
	defer close(p.done)
	for {
		r := p.next(ctx)
		if mutant.OffsetBeforeHandling && r != nil {
			p.handled.Store(r)
		}
		if r == nil || !p.queue.settle(ctx, p.stop, r) {
			return
		}
		p.handled.Store(r)
	}
}

// next waits for a record; nil if there will be none.
func (p *partition) next(ctx context.Context) *kgo.Record {
	for {
		select {
		case <-p.stop:
			return nil
		case <-ctx.Done():
			return nil
		default:
		}
		if r := p.pop(); r != nil {
			return r
		}
		select {
		case <-p.wake:
		case <-p.stop:
		case <-ctx.Done():
		}
	}
}

func (p *partition) pop() *kgo.Record {
	p.mu.Lock()
	left := len(p.waiting)
	if left == 0 {
		p.mu.Unlock()
		return nil
	}
	r := p.waiting[0]
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
	p.mu.Unlock()
	if left <= resumeAt {
		p.resume()
	}
	return r
}

// settle is done with a record when it is handled, unwanted or kept as a dead
// letter; it is false if ctx or gone ended before.
func (q *kafkaQueue) settle(ctx context.Context, gone <-chan struct{}, r *kgo.Record) bool {
	if kind, ok := header(r, headerType); ok && q.types != nil && !slices.Contains(q.types, kind) {
		return true
	}
	keep := func(why refusal) bool { return q.keep(ctx, gone, deadRecord(r, q.queue, why)) }
	e, err := envelope(r)
	if err == nil {
		return q.deliver(ctx, gone, &e, keep)
	}
	_, why := q.judge(q.own(ctx), &e, err)
	if !keep(*why) {
		return false
	}
	q.obs.Metrics.QueueConsumed.Inc(q.queue)
	return true
}

// keep writes a dead letter, however long that takes: the partition goes on
// only when Kafka has acknowledged it.
func (q *kafkaQueue) keep(ctx context.Context, gone <-chan struct{}, dead *kgo.Record) bool {
	var wait Backoff
	for {
		h := q.kafka.producer.hand(dead)
		q.kafka.producer.push()
		select {
		case <-h.done:
		case <-gone:
			return false
		case <-ctx.Done():
			return false
		}
		if h.err == nil {
			return true
		}
		q.log.LogAttrs(q.own(ctx), slog.LevelWarn, "dead letter not kept yet", slog.String("queue", q.queue.String()), obs.Cause(h.err))
		if !wait.Wait(ctx, gone) {
			return false
		}
	}
}
