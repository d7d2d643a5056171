package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// Result is what a batch's handler says of one request. Err refuses that
// request alone; nothing is rolled back for it, so the handler must not have
// written anything for it.
type Result[Res any] struct {
	Value Res
	Err   error
}

// Batch writes requests of one kind together: its handler gets all that wait
// and can so insert them with few statements. Make one with [NewBatch].
type Batch[Req, Res any] struct {
	db      *DB
	op      string
	handle  func(context.Context, *Tx, []Req) ([]Result[Res], error)
	waiting []entry[Req, Res] // guarded by the queue's lock, as is head
	head    int               // the first in waiting that was not taken
	taken   []entry[Req, Res] // from here on the writer's alone, until they are answered
	spare   chan []entry[Req, Res]
	reqs    []Req
	results []Result[Res]

	// Answered is called after all answers of a group, on the goroutine that gives
	// them; nil = nothing is. Set it before the first request.
	Answered func()
}

type entry[Req, Res any] struct {
	ctx  context.Context // of the request
	req  Req
	done func(Res, error)
	at   time.Time
}

// NewBatch makes a batch. handle gives one result for each request, in their
// order; reqs is only valid during the call. An error of handle, a statement
// that failed and a panic take everything back, and the requests are handled
// again one by one. ctx lasts 5 s and carries nothing of any request, neither
// correlation nor identity: what the handler needs of those stands in Req.
func NewBatch[Req, Res any](db *DB, op string, handle func(ctx context.Context, tx *Tx, reqs []Req) ([]Result[Res], error)) *Batch[Req, Res] {
	return &Batch[Req, Res]{db: db, op: op, handle: handle, spare: make(chan []entry[Req, Res], groupsUnanswered)}
}

// Submit hands in a request. done is called once, in the order of submission:
// after the commit, or with a refusal or failure. It runs on the one goroutine
// that gives answers and must not block; if the database is stopping or has too
// much waiting, it is called at once, by Submit. A request whose context ends
// before its turn is answered timeout or canceled and not handled.
func (b *Batch[Req, Res]) Submit(ctx context.Context, req Req, done func(Res, error)) {
	e := entry[Req, Res]{ctx, req, done, time.Now()}
	err := b.db.writer.queue.add(b, func() { b.waiting = append(b.waiting, e) })
	if err != nil {
		var none Res
		done(none, err)
	}
}

// Do is Submit for callers that wait. When ctx ends first, the request may
// still be written: the answer then leaves the outcome open.
func (b *Batch[Req, Res]) Do(ctx context.Context, req Req) (Res, error) {
	answer := make(chan Result[Res], 1)
	b.Submit(ctx, req, func(v Res, err error) { answer <- Result[Res]{v, err} })
	select {
	case r := <-answer:
		return r.Value, r.Err
	case <-ctx.Done():
		var none Res
		return none, fault.From(ctx.Err())
	}
}

func (b *Batch[Req, Res]) take() (first bool) {
	b.taken = append(b.taken, b.waiting[b.head])
	b.waiting[b.head] = entry[Req, Res]{}
	if b.head++; 2*b.head >= len(b.waiting) && (b.head == len(b.waiting) || b.head >= groupSize) {
		n := copy(b.waiting, b.waiting[b.head:])
		clear(b.waiting[n:])
		b.waiting, b.head = b.waiting[:n], 0
	}
	return len(b.taken) == 1
}

func (b *Batch[Req, Res]) begin() {
	left := b.taken[:0]
	for _, e := range b.taken {
		if err := e.ctx.Err(); err != nil {
			b.db.writer.answers.give(func() { b.answer(e, Result[Res]{Err: fault.From(err)}) })
			continue
		}
		left = append(left, e)
		b.reqs = append(b.reqs, e.req)
	}
	clear(b.taken[len(left):])
	b.taken = left
	b.results = make([]Result[Res], len(left))
}

func (b *Batch[Req, Res]) size() int       { return len(b.taken) }
func (b *Batch[Req, Res]) divisible() bool { return false }
func (b *Batch[Req, Res]) refuse(error)    {}
func (b *Batch[Req, Res]) putBack() bool   { return false } // batches go first

func (b *Batch[Req, Res]) run(tx *Tx, from, to int) error {
	if from == to {
		return nil
	}
	var results []Result[Res]
	err := tx.limited(context.Background(), patience, func(ctx context.Context) (err error) {
		results, err = b.handle(ctx, tx, b.reqs[from:to])
		return err
	})
	if err == nil && len(results) != to-from {
		err = fault.Wrap(fault.CodeInternal, fmt.Errorf("%s gave %d results for %d requests", b.op, len(results), to-from), "")
	}
	if err == nil {
		copy(b.results[from:to], results)
	}
	return err
}

// settle hands the answers to the goroutine that gives them, so that the next
// group can begin meanwhile.
func (b *Batch[Req, Res]) settle(from, to int, err error) {
	if from == to {
		return
	}
	b.db.took(processContext, obs.AccessWrite, b.op, time.Since(b.taken[from].at))
	taken, results := b.taken[from:to], b.results[from:to]
	if err != nil {
		for i := range results {
			results[i] = Result[Res]{Err: err}
		}
	}
	whole := len(taken) == len(b.taken)
	b.db.writer.answers.give(func() {
		for i := range taken {
			b.answer(taken[i], results[i])
		}
		if b.Answered != nil {
			b.db.writer.guard("answer", b.Answered)
		}
		if whole {
			b.recycle(taken)
		}
	})
}

// recycle keeps the memory of a group for another.
func (b *Batch[Req, Res]) recycle(taken []entry[Req, Res]) {
	clear(taken)
	select {
	case b.spare <- taken[:0]:
	default:
	}
}

// answer calls done; what it does must not keep the others from their answers.
func (b *Batch[Req, Res]) answer(e entry[Req, Res], r Result[Res]) {
	b.db.writer.guard("answer", func() { e.done(r.Value, r.Err) })
}

// clear gives up what belongs to the answers now.
func (b *Batch[Req, Res]) clear() {
	clear(b.reqs)
	b.taken, b.reqs, b.results = nil, b.reqs[:0], nil
	select {
	case b.taken = <-b.spare:
	default:
	}
}
