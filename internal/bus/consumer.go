package bus

import (
	"context"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/mutant"
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

// refusal is why an event is set aside.
type refusal struct {
	reason obs.BusReason
	code   fault.Code
}

// deliver returns when the event is done with. It is false if ctx or gone ended
// while the event waited for another try. What is set aside is given to keep,
// which is false if it could not keep it; without keep the log line is all.
func (c *consumer) deliver(ctx context.Context, gone <-chan struct{}, e *Envelope, keep func(refusal) bool) bool {
	var wait Backoff
	for {
		again, why := c.try(e)
		if !again {
			if why != nil && keep != nil && !keep(*why) {
				return false
			}
			c.obs.Metrics.QueueConsumed.Inc(c.queue)
			return true
		}
		if !wait.Wait(ctx, gone) {
			return false
		}
	}
}

// try handles the event once.
func (c *consumer) try(e *Envelope) (again bool, why *refusal) {
	ctx, cancel := e.context()
	defer cancel()
	begin := time.Now()
	if err := c.call(ctx, e); err != nil {
		return c.judge(ctx, e, err)
	}
	if c.obs.Sample(obs.SiteEvent) {
		c.log.LogAttrs(ctx, slog.LevelInfo, "event handled", append(c.attrs(e), slog.Duration("took", time.Since(begin)))...)
	}
	return false, nil
}

// judge counts and logs a failure, and says whether to try again or why not.
func (c *consumer) judge(ctx context.Context, e *Envelope, err error) (again bool, why *refusal) {
	code := fault.CodeOf(err)
	attrs := append(c.attrs(e), slog.String("code", code.String()), obs.Cause(err))
	if code.Retryable() && !mutant.OutageIsDeadLetter {
		c.obs.Metrics.EventFailures.Inc(obs.BusUnavailable)
		c.log.LogAttrs(ctx, slog.LevelWarn, "event will be tried again", attrs...)
		return true, nil
	}
	why = &refusal{obs.BusRefused, code}
	if code.Kind() == fault.Invalid {
		why.reason = obs.BusMalformed
	}
	c.obs.Metrics.EventFailures.Inc(why.reason)
	c.log.LogAttrs(ctx, slog.LevelError, "event set aside", attrs...)
	return false, why
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
