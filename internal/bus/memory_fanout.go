package bus

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

type memoryFanout struct {
	obs *obs.Obs

	mu   sync.Mutex // taken to replace the list; Publish reads it without
	subs atomic.Pointer[[]*subscriber]
}

type subscriber struct {
	name   string
	handle func(context.Context, []Envelope)
}

func newMemoryFanout(o *obs.Obs) *memoryFanout {
	f := &memoryFanout{obs: o}
	f.subs.Store(&[]*subscriber{})
	return f
}

// Publish is part of Fanout.
func (f *memoryFanout) Publish(ctx context.Context, batch []Envelope) error {
	if err := validate(batch); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fault.From(err)
	}
	for _, s := range *f.subs.Load() {
		f.call(s, batch)
	}
	return nil
}

func (f *memoryFanout) call(s *subscriber, batch []Envelope) {
	defer func() {
		if v := recover(); v != nil {
			f.obs.Metrics.Panics.Inc(obs.PanicEvent)
			ctx := obs.WithCorrelation(context.Background(), batch[0].Correlation)
			run.LogPanic(ctx, f.obs.Log(obs.Process), "fan-out to "+s.name, v)
		}
	}()
	s.handle(context.Background(), batch)
}

// Subscribe is part of Fanout. A batch that is under way when cancel is called
// may still arrive.
func (f *memoryFanout) Subscribe(name string, h func(context.Context, []Envelope)) (cancel func()) {
	s := &subscriber{name, h}
	f.replace(func(list []*subscriber) []*subscriber { return append(list, s) })
	return func() {
		f.replace(func(list []*subscriber) []*subscriber {
			return slices.DeleteFunc(list, func(have *subscriber) bool { return have == s })
		})
	}
}

func (f *memoryFanout) replace(change func([]*subscriber) []*subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := change(slices.Clone(*f.subs.Load()))
	f.subs.Store(&next)
}
