package run

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// Group owns goroutines and stop steps. Make one with [New].
type Group struct {
	obs    *obs.Obs
	ctx    context.Context
	cancel context.CancelFunc
	live   atomic.Int64

	mu      sync.Mutex // guards what follows
	names   map[string]int
	idle    chan struct{} // closed when the last goroutine ends, made by wait
	steps   []step
	stopped bool
	report  Report
}

type step struct {
	name    string
	timeout time.Duration
	fn      func(context.Context) error
}

// New makes an empty group.
func New(o *obs.Obs) *Group {
	ctx, cancel := context.WithCancel(context.Background())
	g := &Group{obs: o, ctx: ctx, cancel: cancel, names: map[string]int{}}
	o.Metrics.Goroutines.Pull(func() float64 { return float64(g.live.Load()) })
	return g
}

// Go starts a goroutine. Its context carries the values of ctx (the cause), and
// lives until the group has stopped, however short ctx lives. A panic ends the
// goroutine, not the process; it is counted and logged.
func (g *Group) Go(ctx context.Context, name string, fn func(context.Context)) {
	g.start(name)
	go func() {
		defer g.end(name)
		own := inherited{Context: g.ctx, values: ctx}
		defer g.recover(own, name)
		fn(own)
	}()
}

// Worker starts a goroutine that runs until it is stopped, and adds the step
// that stops it: cancel its context, then wait for it, at most timeout.
func (g *Group) Worker(name string, timeout time.Duration, fn func(context.Context)) {
	ctx, cancel := context.WithCancel(g.ctx)
	done := make(chan struct{})
	g.Go(ctx, name, func(context.Context) {
		defer close(done)
		fn(ctx)
	})
	g.OnStop(name, timeout, func(stop context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-stop.Done():
			return fmt.Errorf("%s did not end: %w", name, context.Cause(stop))
		}
	})
}

// OnStop adds a step that Stop runs before all steps that were added earlier.
// fn must return soon after its context ends.
func (g *Group) OnStop(name string, timeout time.Duration, fn func(context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.steps = append(g.steps, step{name, timeout, fn})
}

// Live is the number of goroutines that have not ended.
func (g *Group) Live() int { return int(g.live.Load()) }

func (g *Group) start(name string) {
	g.live.Add(1)
	g.mu.Lock()
	g.names[name]++
	g.mu.Unlock()
}

func (g *Group) end(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.names[name]--; g.names[name] == 0 {
		delete(g.names, name)
	}
	if g.live.Add(-1) == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

func (g *Group) recover(ctx context.Context, name string) {
	if v := recover(); v != nil {
		g.obs.Metrics.Panics.Inc(obs.PanicGoroutine)
		LogPanic(ctx, g.obs.Log(obs.Process), name, v)
	}
}

// LogPanic logs a caught panic with its stack. The value itself is logged only
// as far as it is an error or a string made by the runtime or by Nova.
func LogPanic(ctx context.Context, log *slog.Logger, where string, v any) {
	err, ok := v.(error)
	if !ok {
		err = fmt.Errorf("%v", v)
	}
	log.LogAttrs(ctx, slog.LevelError, "caught a panic", slog.String("where", where),
		obs.Cause(err), slog.Any("stack", fmt.Errorf("%s", debug.Stack())))
}

// inherited has the life of one context and the values of another.
type inherited struct {
	context.Context
	values context.Context
}

func (c inherited) Value(k any) any {
	if v := c.Context.Value(k); v != nil {
		return v
	}
	return c.values.Value(k)
}
