package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// readiness is why the process may not receive traffic; "" = it may.
type readiness struct {
	reason atomic.Pointer[string] // how far the process is in its life
	stores atomic.Pointer[string] // what keeps it from its work for now
}

func (r *readiness) set(reason string) { r.reason.Store(&reason) }

func (r *readiness) setStores(reason string) { r.stores.Store(&reason) }

func (r *readiness) get() string {
	if reason := *r.reason.Load(); reason != "" {
		return reason
	}
	if p := r.stores.Load(); p != nil {
		return *p
	}
	return ""
}

func (r *readiness) value() float64 {
	if r.get() == "" {
		return 1
	}
	return 0
}

// patiently asks until whom it asks answers, who may start later than this
// process, or until ctx ends. What is no matter of waiting is an error at once.
// The log names the setting that says where to ask.
func (a *App) patiently(ctx context.Context, whom, setting string, ask func() error) error {
	var backoff bus.Backoff
	for told := false; ; told = true {
		err := ask()
		if err == nil || !fault.Is(err, fault.CodeUnavailable) && !fault.Is(err, fault.CodeTimeout) {
			a.ready.set("starting")
			return err
		}
		if !told {
			a.ready.set("waiting for " + whom)
			a.obs.Log(obs.Process).LogAttrs(ctx, slog.LevelWarn, "waiting for what does not answer", slog.String("whom", whom), slog.String("setting", setting), obs.Cause(err))
		}
		if !backoff.Wait(ctx, nil) {
			return err
		}
	}
}

var errNothing = errors.New("none")

func errOr(err error) error {
	if err == nil {
		return errNothing
	}
	return err
}

func joinErr(errs ...error) error { return errors.Join(errs...) }
