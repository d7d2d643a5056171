package bus

import (
	"context"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// consumer calls a queue's handler as every implementation of Events has to:
// with a context of the envelope's own, again after retryable faults, and never
// again after definite ones.
type consumer struct {
	obs    *obs.Obs
	log    *slog.Logger
	queue  obs.Queue
	handle func(context.Context, Envelope) error
}

func newConsumer(o *obs.Obs, queue obs.Queue, h func(context.Context, Envelope) error) *consumer {
	return &consumer{obs: o, log: o.Log(serviceOf(queue)), queue: queue, handle: h}
}

// serviceOf is the service whose log tells of a queue.
func serviceOf(q obs.Queue) obs.Service {
	switch q {
	case obs.QueueAuthEvents:
		return obs.Auth
	case obs.QueueUserEvents:
		return obs.User
	case obs.QueueFanout:
		return obs.Messaging
	}
	return obs.Process
}

// deliver returns when the event is done with. It is false if ctx or gone ended
// while the event waited for another try.
func (c *consumer) deliver(ctx context.Context, gone <-chan struct{}, e *Envelope) bool {
	var wait Backoff
	for {
		if c.try(e) {
			c.obs.Metrics.QueueConsumed.Inc(c.queue)
			return true
		}
		if !wait.Wait(ctx, gone) {
			return false
		}
	}
}

// try is false if the event has to be handled again.
func (c *consumer) try(e *Envelope) bool {
	ctx, cancel := e.context()
	defer cancel()
	begin := time.Now()
	err := c.call(ctx, e)
	if err == nil {
		if c.obs.Sample(obs.SiteEvent) {
			c.log.LogAttrs(ctx, slog.LevelInfo, "event handled", append(c.attrs(e), slog.Duration("took", time.Since(begin)))...)
		}
		return true
	}
	code := fault.CodeOf(err)
	attrs := append(c.attrs(e), slog.String("code", code.String()), obs.Cause(err))
	if code.Retryable() {
		c.obs.Metrics.EventFailures.Inc(obs.BusUnavailable)
		c.log.LogAttrs(ctx, slog.LevelWarn, "event will be tried again", attrs...)
		return false
	}
	reason := obs.BusRefused
	if code.Kind() == fault.Invalid {
		reason = obs.BusMalformed
	}
	c.obs.Metrics.EventFailures.Inc(reason)
	c.log.LogAttrs(ctx, slog.LevelError, "event set aside", attrs...)
	return true
}

func (c *consumer) call(ctx context.Context, e *Envelope) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.obs.Metrics.Panics.Inc(obs.PanicEvent)
			run.LogPanic(ctx, c.log, "event handler of "+c.queue.String(), v)
			err = fault.New(fault.CodeInternal, "the handler panicked")
		}
	}()
	return c.handle(ctx, *e)
}

func (c *consumer) attrs(e *Envelope) []slog.Attr {
	return []slog.Attr{slog.String("queue", c.queue.String()), slog.String("type", e.Type), slog.String("event_id", e.ID), slog.Int64("pos", e.Pos)}
}
