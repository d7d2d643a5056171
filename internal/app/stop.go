package app

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/messaging"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
)

// Ledger is what became of every send, and how the process ended.
type Ledger struct {
	messaging.Ledger
	OutboxLeft     int // rows that this process committed and no relay has passed
	GoroutinesLeft int
	Took           time.Duration
	Err            error // of the steps that did not finish in time
}

// steps adds what happens at the beginning of the end, in reverse: the step
// that is added last runs first.
func (a *App) steps() {
	timed := func(p obs.Phase, timeout time.Duration, fn func(context.Context) error) {
		a.group.OnStop(p.String(), timeout, func(ctx context.Context) error {
			begin := time.Now()
			defer func() { a.obs.Metrics.ShutdownPhase.Observe(p, time.Since(begin)) }()
			return fn(ctx)
		})
	}
	timed(obs.PhaseRelays, relaysStep, func(ctx context.Context) error {
		defer func() { a.passed = time.Now() }()
		return a.drainOutboxes(ctx)
	})
	timed(obs.PhaseConsumers, 5*time.Second, a.public.Close) // what is being answered is answered
	timed(obs.PhaseClose, 8*time.Second, func(ctx context.Context) error {
		if a.messaging != nil {
			a.messaging.CloseSockets(ctx)
		}
		return nil
	})
	timed(obs.PhaseDrain, drainStep, func(ctx context.Context) error {
		if a.messaging == nil {
			return nil
		}
		return a.messaging.Drain(ctx)
	})
	timed(obs.PhaseRefuse, time.Second, func(context.Context) error {
		if a.messaging != nil {
			a.messaging.Refuse()
		}
		return nil
	})
	timed(obs.PhaseNotReady, a.cfg.DrainWait+time.Second, func(ctx context.Context) error {
		a.ready.set("draining")
		return wait(ctx, a.cfg.DrainWait)
	})
}

// storesClosed ends the last phase: it runs when the services have stopped and
// their databases are closed, and the admin listener can still be asked.
func (a *App) storesClosed(context.Context) error {
	if !a.passed.IsZero() { // else the process had not started
		a.obs.Metrics.ShutdownPhase.Observe(obs.PhaseStores, time.Since(a.passed))
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *App) drainOutboxes(ctx context.Context) error {
	for _, ob := range a.allOutboxes() {
		if err := ob.Drain(ctx); err != nil {
			return err
		}
	}
	return nil
}

// allOutboxes are the outboxes of all local services.
func (a *App) allOutboxes() []*outbox.Outbox {
	if a.messaging == nil {
		return a.outboxes
	}
	return append(slices.Clone(a.outboxes), a.messaging.Outbox())
}

// Stop ends the process without losing anything and says what became of every
// send. It takes at most the configured drain timeout, and may be called again.
func (a *App) Stop(ctx context.Context) Ledger {
	a.stop.Do(func() {
		log := a.obs.Log(obs.Process)
		log.LogAttrs(ctx, slog.LevelInfo, "Shutting down gracefully...")
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.DrainTimeout)
		defer cancel()
		begin := time.Now()
		report := a.group.Stop(ctx)
		a.ledger = Ledger{GoroutinesLeft: report.GoroutinesLeft, Took: time.Since(begin), Err: joinErr(a.failure(), report.Err())}
		if a.messaging != nil {
			a.ledger.Ledger = a.messaging.Ledger()
		}
		for _, ob := range a.allOutboxes() {
			a.ledger.OutboxLeft += ob.Left()
		}
		a.logLedger(log, report.Left)
		a.ledger.Err = joinErr(a.ledger.Err, a.obs.Close())
	})
	return a.ledger
}

// failure is why the process had to stop, nil if somebody just asked for it.
func (a *App) failure() error {
	select {
	case <-a.asked:
		return a.askCause
	default:
		return nil
	}
}

func (a *App) logLedger(log *slog.Logger, left []string) {
	l := a.ledger
	attrs := append(l.Attrs(), slog.Int("outbox_left", l.OutboxLeft), slog.Int("goroutines_left", l.GoroutinesLeft), slog.Int64("duration_ms", l.Took.Milliseconds()))
	level := slog.LevelInfo
	if l.Err != nil || l.GoroutinesLeft > 0 {
		level = slog.LevelWarn
		attrs = append(attrs, slog.Any("left", left), obs.Cause(errOr(l.Err)))
	}
	log.LogAttrs(context.Background(), level, "shutdown ledger", attrs...)
}
