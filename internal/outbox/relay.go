package outbox

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// A relay waits for a position that is missing in memory before it reads the
// database: the events of one commit are handed over in any order, one after
// the other, and those of other processes come by way of the fan-out.
const (
	patience       = 2 * time.Millisecond
	patienceShared = 100 * time.Millisecond
)

// relay takes events to one sink, in one goroutine.
type relay struct {
	ob      *Outbox
	sink    Sink
	allowed func() bool   // whether this process is the one that relays to it
	wake    chan struct{} // has room for one
	cursor  atomic.Int64  // the sink has taken everything up to here
	saved   atomic.Int64  // what the database holds of it
	wanted  []bus.Envelope
	behind  bool // the database held more than the last read gave; the relay's goroutine alone
}

func newRelay(ob *Outbox, s Sink, allowed func() bool) *relay {
	return &relay{ob: ob, sink: s, allowed: allowed, wake: make(chan struct{}, 1)}
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
		if r.publish(ctx, batch) && upTo > r.cursor.Load() {
			r.cursor.Store(upTo)
			r.ob.passed()
		}
	}
}

// next waits for events and gives them with the position up to which they are
// all. It gives none when it is not this process's turn, or ctx ends.
func (r *relay) next(ctx context.Context) (batch []bus.Envelope, upTo int64, err error) {
	var missing time.Time // since when there is a gap
	for {
		after := r.cursor.Load()
		if !r.allowed() {
			r.await(ctx)
			return nil, after, nil
		}
		batch, last := r.ob.tail.after(after)
		switch {
		case len(batch) > 0:
			r.behind = false
			return batch, batch[len(batch)-1].Pos, nil
		case r.behind: // what follows is not on its way, it is there
			return r.backlog(ctx, after)
		case last <= after:
			missing = time.Time{}
			if !r.await(ctx) {
				return nil, after, nil
			}
		case missing.IsZero():
			missing = time.Now()
		case !r.nap(ctx, r.ob.patience()-time.Since(missing)):
			if mutant.NoGapDetector && r == r.ob.follow {
				return nil, r.ob.tail.next(after), nil
			}
			return r.backlog(ctx, after)
		}
	}
}

// backlog reads the database, where the memory does not hold what follows.
func (r *relay) backlog(ctx context.Context, after int64) (batch []bus.Envelope, upTo int64, err error) {
	batch, upTo, r.behind, err = r.ob.backlog(ctx, after, r.sink.Types)
	return batch, upTo, err
}

// await waits to be woken; false if ctx ended.
func (r *relay) await(ctx context.Context) bool {
	select {
	case <-r.wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// nap waits to be woken; false if that took too long, or ctx ended.
func (r *relay) nap(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.wake:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func (ob *Outbox) patience() time.Duration {
	if ob.shared {
		return patienceShared
	}
	return patience
}

// publish is false if the sink did not take the batch before ctx ended, or
// before it was another process's turn.
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
		if mutant.CursorBeforeBroker {
			return true
		}
		if !wait.Wait(ctx, nil) || !r.allowed() {
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
