package bus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// stopTime is how long a stop waits for the event that is being handled.
const stopTime = 10 * time.Second

type memoryEvents struct {
	obs   *obs.Obs
	group *run.Group

	mu     sync.RWMutex // guards the list
	groups []*memoryGroup
}

// Publish is part of Events.
func (m *memoryEvents) Publish(ctx context.Context, batch []Envelope) error {
	if err := validate(batch); err != nil {
		return err
	}
	m.mu.RLock()
	groups := m.groups
	m.mu.RUnlock()
	gone := make(chan struct{})
	defer close(gone)
	var jobs []*job
	for _, g := range groups {
		if j := g.offer(batch, gone); j != nil {
			jobs = append(jobs, j)
		}
	}
	for _, j := range jobs {
		select {
		case err := <-j.done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fault.Wrap(fault.CodeUnavailable, context.Cause(ctx), "an event was not handled in time")
		}
	}
	return nil
}

// Consume is part of Events.
func (m *memoryEvents) Consume(queue obs.Queue, types []string, h func(context.Context, Envelope) error) {
	g := &memoryGroup{consumer: newConsumer(m.obs, queue, h), types: types, wake: make(chan struct{}, 1)}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, have := range m.groups {
		if have.queue == queue {
			panic(fmt.Sprintf("queue %v has a consumer already", queue))
		}
	}
	m.groups = append(slices.Clone(m.groups), g)
	m.obs.Metrics.QueueLag.Pull(queue, g.lag)
	m.group.Worker("consumer "+queue.String(), stopTime, g.run)
}

// memoryGroup is one consumer and what waits for it. The batch in work stays at
// the head of jobs until it is finished.
type memoryGroup struct {
	*consumer
	types []string
	wake  chan struct{}

	mu      sync.Mutex // guards what follows
	jobs    []*job
	stopped bool
}

// job is a batch on its way through one group.
type job struct {
	batch []Envelope
	left  atomic.Int64
	gone  <-chan struct{} // closed when the publisher has stopped waiting
	done  chan error      // gets the outcome; has room for it
}

var errStopped = fault.New(fault.CodeUnavailable, "the consumer has stopped")

// offer queues what the group wants of the batch; nil if that is nothing.
func (g *memoryGroup) offer(batch []Envelope, gone <-chan struct{}) *job {
	j := &job{gone: gone, done: make(chan error, 1)}
	for _, e := range batch {
		if g.types == nil || slices.Contains(g.types, e.Type) {
			j.batch = append(j.batch, e)
		}
	}
	if len(j.batch) == 0 {
		return nil
	}
	j.left.Store(int64(len(j.batch)))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		j.done <- errStopped
		return j
	}
	g.jobs = append(g.jobs, j)
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return j
}

func (g *memoryGroup) run(ctx context.Context) {
	defer g.stop()
	for {
		if j := g.head(); j != nil {
			j.done <- g.work(ctx, j)
			g.drop()
			continue
		}
		select {
		case <-g.wake:
		case <-ctx.Done():
			return
		}
	}
}

// work handles a batch in order, until the process stops or the publisher has
// gone; it will publish again what it was not told of.
func (g *memoryGroup) work(ctx context.Context, j *job) error {
	for i := range j.batch {
		select {
		case <-j.gone:
			return errStopped
		default:
		}
		if ctx.Err() != nil || !g.deliver(ctx, j.gone, &j.batch[i], nil) {
			return errStopped
		}
		j.left.Add(-1)
	}
	return nil
}

func (g *memoryGroup) head() *job {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.jobs) == 0 {
		return nil
	}
	return g.jobs[0]
}

func (g *memoryGroup) drop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.jobs = slices.Delete(g.jobs, 0, 1)
}

// stop answers whoever waits still; it runs when the worker ends.
func (g *memoryGroup) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	for _, j := range g.jobs {
		j.done <- errStopped
	}
	g.jobs = nil
}

func (g *memoryGroup) lag() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	var n int64
	for _, j := range g.jobs {
		n += j.left.Load()
	}
	return float64(n)
}
