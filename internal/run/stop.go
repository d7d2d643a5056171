package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// Report says how a group stopped.
type Report struct {
	Steps          []StepReport
	GoroutinesLeft int
	Left           []string // names of the goroutines that did not end
}

// StepReport says how one step went.
type StepReport struct {
	Name string
	Took time.Duration
	Err  error
}

// Err joins the errors of all steps; nil if every step finished in time.
func (r Report) Err() error {
	var errs []error
	for _, s := range r.Steps {
		if s.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, s.Err))
		}
	}
	return errors.Join(errs...)
}

// lastWait is how long the goroutines may take to notice that the group's
// context has ended, after the last step.
const lastWait = 2 * time.Second

// Stop runs the steps, last added first, then ends the context of all
// goroutines and waits for them. It may be called again: it answers the same.
// When ctx ends, the steps that are left get no time, but still run.
func (g *Group) Stop(ctx context.Context) Report {
	g.mu.Lock()
	if g.stopped {
		defer g.mu.Unlock()
		return g.report
	}
	g.stopped = true
	steps := slices.Clone(g.steps)
	g.mu.Unlock()

	var r Report
	for _, s := range slices.Backward(steps) {
		r.Steps = append(r.Steps, g.runStep(ctx, s))
	}
	g.cancel()
	r.GoroutinesLeft, r.Left = g.wait()
	g.mu.Lock()
	g.report = r
	g.mu.Unlock()
	return r
}

func (g *Group) runStep(ctx context.Context, s step) (r StepReport) {
	cause := fmt.Errorf("step %s has had its %v", s.name, s.timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, cause)
	defer cancel()
	begin := time.Now()
	defer func() {
		if v := recover(); v != nil {
			r.Err = fmt.Errorf("panic: %v", v)
		}
		r.Name, r.Took = s.name, time.Since(begin)
		if r.Err != nil {
			g.obs.Log(obs.Process).LogAttrs(ctx, slog.LevelError, "a shutdown step failed", slog.String("step", s.name), obs.Cause(r.Err))
		}
	}()
	return StepReport{Err: s.fn(ctx)}
}

// wait gives the number and the names of the goroutines that do not end.
func (g *Group) wait() (int, []string) {
	g.mu.Lock()
	if g.live.Load() == 0 {
		g.mu.Unlock()
		return 0, nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	t := time.NewTimer(lastWait)
	defer t.Stop()
	select {
	case <-idle:
		return 0, nil
	case <-t.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for name, n := range g.names {
		names = append(names, fmt.Sprintf("%s x%d", name, n))
	}
	slices.Sort(names)
	return int(g.live.Load()), names
}
