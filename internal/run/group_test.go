package run

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

func newGroup(t *testing.T) (*Group, *bytes.Buffer) {
	t.Helper()
	var buf bytes.Buffer
	o, err := obs.New(obs.Config{Out: &buf})
	if err != nil {
		t.Fatal(err)
	}
	return New(o), &buf
}

func TestStepsStopLastFirstAndOnce(t *testing.T) {
	g, _ := newGroup(t)
	var order []string
	for _, name := range []string{"stores", "relays", "sockets"} {
		g.OnStop(name, time.Second, func(context.Context) error {
			order = append(order, name)
			return nil
		})
	}
	first := g.Stop(context.Background())
	g.Stop(context.Background())
	if want := []string{"sockets", "relays", "stores"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if first.Err() != nil || first.GoroutinesLeft != 0 || len(first.Steps) != 3 {
		t.Errorf("report %+v", first)
	}
}

func TestStepDeadlineAndPanicDoNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := newGroup(t)
		last := false
		g.OnStop("last", time.Second, func(context.Context) error { last = true; return nil })
		g.OnStop("panics", time.Second, func(context.Context) error { panic("oops") })
		g.OnStop("hangs", 3*time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
		begin := time.Now()
		r := g.Stop(context.Background())
		if time.Since(begin) != 3*time.Second || !last {
			t.Errorf("took %v, last step run: %v", time.Since(begin), last)
		}
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "hangs") || !strings.Contains(err.Error(), "panics") {
			t.Errorf("report: %v", err)
		}
	})
}

func TestWorkerEndsAtItsStep(t *testing.T) {
	g, _ := newGroup(t)
	var ended atomic.Bool
	g.OnStop("check", time.Second, func(context.Context) error {
		if !ended.Load() {
			return errors.New("the worker outlived its step")
		}
		return nil
	})
	g.Worker("worker", time.Second, func(ctx context.Context) {
		<-ctx.Done()
		ended.Store(true)
	})
	if err := g.Stop(context.Background()).Err(); err != nil {
		t.Error(err)
	}
}

func TestLeftGoroutinesAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := newGroup(t)
		release := make(chan struct{})
		g.Go(context.Background(), "stuck", func(context.Context) { <-release })
		r := g.Stop(context.Background())
		if r.GoroutinesLeft != 1 || !slices.Equal(r.Left, []string{"stuck x1"}) {
			t.Errorf("report %+v", r)
		}
		close(release)
		synctest.Wait()
		if g.Live() != 0 {
			t.Errorf("%d goroutines counted", g.Live())
		}
	})
}

func TestGoroutineKeepsTheCauseAndOutlivesTheCaller(t *testing.T) {
	g, _ := newGroup(t)
	ctx, cancel := context.WithCancel(obs.WithCorrelation(context.Background(), "test-123"))
	cancel()
	got := make(chan obs.Correlation, 1)
	g.Go(ctx, "x", func(ctx context.Context) {
		if ctx.Err() == nil {
			got <- obs.CorrelationFrom(ctx)
		}
		close(got)
	})
	if c := <-got; c != "test-123" {
		t.Errorf("correlation %q", c)
	}
	g.Stop(context.Background())
}

func TestPanicIsCaughtCountedAndLogged(t *testing.T) {
	g, buf := newGroup(t)
	g.Go(obs.WithCorrelation(context.Background(), "c-9"), "fragile", func(context.Context) { panic("oops") })
	g.Stop(context.Background())
	for _, want := range []string{"fragile", "oops", "c-9", "stack"} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("%q is not in the log: %s", want, buf.String())
		}
	}
}
