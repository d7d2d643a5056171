package outbox

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
)

const (
	tellAtMost = 16384           // events that wait to be told; the oldest are left out
	tellTime   = 2 * time.Second // for one batch
)

// teller tells other processes what this one has committed. It never keeps
// anybody waiting, and may lose what it tells.
type teller struct {
	ob   *Outbox
	tell func(ctx context.Context, batch []bus.Envelope) error
	wake chan struct{}
	deaf bool // the others could not be told the last time

	mu      sync.Mutex
	waiting []bus.Envelope
}

func newTeller(ob *Outbox, tell func(ctx context.Context, batch []bus.Envelope) error) *teller {
	return &teller{ob: ob, tell: tell, wake: make(chan struct{}, 1)}
}

func (t *teller) add(batch []bus.Envelope) {
	t.mu.Lock()
	t.waiting = append(t.waiting, batch...)
	if n := len(t.waiting) - tellAtMost; n > 0 {
		t.waiting = slices.Delete(t.waiting, 0, n)
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take moves what waits into the given slice, at most a batch of it.
func (t *teller) take(batch []bus.Envelope) []bus.Envelope {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.waiting), batchSize)
	batch = append(batch, t.waiting[:n]...)
	t.waiting = slices.Delete(t.waiting, 0, n)
	return batch
}

// run tells until ctx ends, and then what is left.
func (t *teller) run(ctx context.Context) {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	var batch []bus.Envelope
	for {
		clear(batch)
		if batch = t.take(batch[:0]); len(batch) > 0 {
			t.one(context.WithoutCancel(ctx), batch)
			continue
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return
		}
	}
}

// one tells a batch. Each event that fails is counted; a line tells when that
// begins and when it is over, since in an outage every commit fails alike.
func (t *teller) one(ctx context.Context, batch []bus.Envelope) {
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	err := t.tell(ctx, batch)
	if err != nil {
		t.ob.obs.Metrics.EventFailures.Add(obs.BusUnavailable, len(batch))
	}
	switch {
	case err != nil && !t.deaf:
		t.ob.log().LogAttrs(ctx, slog.LevelWarn, "others cannot be told what is committed here; they read the database", slog.Int64("pos", batch[0].Pos), obs.Cause(err))
	case err == nil && t.deaf:
		t.ob.log().LogAttrs(ctx, slog.LevelInfo, "others are told again", slog.Int64("pos", batch[0].Pos))
	}
	t.deaf = err != nil
}
