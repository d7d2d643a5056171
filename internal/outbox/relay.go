package outbox

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// patience is how long a relay waits for a position that is missing in memory:
// the events of one commit are handed over in any order, one after the other.
const patience = 2 * time.Millisecond

// relay takes events to one sink, in one goroutine.
type relay struct {
	ob     *Outbox
	sink   Sink
	wake   chan struct{} // has room for one
	cursor atomic.Int64  // the sink has taken everything up to here
	saved  atomic.Int64  // what the database holds of it
	wanted []bus.Envelope
}

func newRelay(ob *Outbox, s Sink) *relay {
	return &relay{ob: ob, sink: s, wake: make(chan struct{}, 1)}
}

// run relays until ctx ends.
func (r *relay) run(ctx context.Context) {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	var wait bus.Backoff
	for ctx.Err() == nil {
		batch, upTo, err := r.next(ctx)
		if err != nil {
			r.ob.log().LogAttrs(ctx, slog.LevelWarn, "outbox not readable", slog.String("sink", r.sink.Name), obs.Cause(err))
			wait.Wait(ctx, nil)
			continue
		}
		wait.Reset()
		if !r.publish(ctx, batch) {
			return
		}
		if upTo > r.cursor.Load() {
			r.cursor.Store(upTo)
			r.ob.passed()
		}
	}
}

// next waits for events and gives them with the position up to which they are all.
func (r *relay) next(ctx context.Context) (batch []bus.Envelope, upTo int64, err error) {
	after, waited := r.cursor.Load(), false
	for {
		batch, last := r.ob.tail.after(after)
		switch {
		case len(batch) > 0:
			return batch, batch[len(batch)-1].Pos, nil
		case last <= after:
			waited = false
			select {
			case <-r.wake:
			case <-ctx.Done():
				return nil, after, nil
			}
		case !waited:
			waited = true
			r.nap(ctx)
		default:
			return r.ob.backlog(ctx, after, r.sink.Types)
		}
	}
}

func (r *relay) nap(ctx context.Context) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.wake:
	case <-ctx.Done():
	}
}

// publish is false if ctx ended before the sink took the batch.
func (r *relay) publish(ctx context.Context, batch []bus.Envelope) bool {
	batch = r.filter(batch)
	if len(batch) == 0 {
		return true
	}
	var wait bus.Backoff
	for tries := 1; ; tries++ {
		err := r.call(ctx, batch)
		if err == nil {
			return true
		}
		own := obs.WithCorrelation(ctx, batch[0].Correlation)
		r.ob.log().LogAttrs(own, slog.LevelWarn, "events not published yet", slog.String("sink", r.sink.Name),
			slog.Int("events", len(batch)), slog.Int64("pos", batch[0].Pos), slog.Int("tries", tries), obs.Cause(err))
		if !wait.Wait(ctx, nil) {
			return false
		}
	}
}

func (r *relay) call(ctx context.Context, batch []bus.Envelope) (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.ob.obs.Metrics.Panics.Inc(obs.PanicEvent)
			run.LogPanic(obs.WithCorrelation(ctx, batch[0].Correlation), r.ob.log(), "sink "+r.sink.Name, v)
			err = fault.New(fault.CodeInternal, "the sink panicked")
		}
	}()
	return r.sink.Publish(ctx, batch)
}

// filter gives what the sink wants, in a slice of its own unless it wants all.
func (r *relay) filter(batch []bus.Envelope) []bus.Envelope {
	if r.sink.Types == nil {
		return batch
	}
	clear(r.wanted)
	r.wanted = r.wanted[:0]
	for i := range batch {
		if slices.Contains(r.sink.Types, batch[i].Type) {
			r.wanted = append(r.wanted, batch[i])
		}
	}
	return r.wanted
}

func (ob *Outbox) log() *slog.Logger { return ob.obs.Log(ob.cfg.Service) }
