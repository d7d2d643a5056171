package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/load"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// longest is the time after which the generator ends by itself.
const longest = 24 * time.Hour

func (o options) load(targets []string, sessions []load.Session) load.Options {
	return load.Options{
		Target: targets[0], Others: targets[1:], Sessions: sessions, Scenario: load.Direct, Pairs: o.senders / 2, Rate: o.rate,
		Warmup: time.Millisecond, Duration: longest, Settle: 20 * time.Second, Reconnect: true, Verify: true,
	}
}

// generator is the one load run that lasts over all rounds.
type generator struct {
	cancel context.CancelFunc
	ticks  chan load.Progress
	done   chan struct{}
	total  atomic.Int64 // acknowledged
	result load.Result
	err    error
}

func startLoad(ctx context.Context, o *obs.Obs, g *run.Group, opts load.Options) *generator {
	ctx, cancel := context.WithCancel(ctx)
	l := &generator{cancel: cancel, ticks: make(chan load.Progress, 1), done: make(chan struct{})}
	opts.Report = func(p load.Progress) {
		l.total.Add(p.Sends)
		select {
		case l.ticks <- p:
		default: // nobody waits
		}
	}
	g.Go(ctx, "rounds.load", func(context.Context) {
		defer close(l.done)
		l.result, l.err = load.Run(ctx, o, g, opts)
	})
	return l
}

func (l *generator) acked() int64 { return l.total.Load() }

// flows waits until messages are acknowledged; not until everybody is back, so
// that a round can also meet those who are about to resume.
func (l *generator) flows() error {
	const within = time.Minute
	limit := time.After(within)
	for skip := 1; ; skip-- { // one tick may be from before
		select {
		case p := <-l.ticks:
			if p.Sends > 0 && skip <= 0 {
				return nil
			}
		case <-l.done:
			return errors.Join(errors.New("the generator ended"), l.err)
		case <-limit:
			return fmt.Errorf("no message was acknowledged within %s", within)
		}
	}
}

// pause lets the load run, unless it ends by itself.
func (l *generator) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.done:
	}
}

// end stops sending and gives the verdict on every message.
func (l *generator) end(err error) (load.Result, error) {
	l.cancel()
	<-l.done
	return l.result, errors.Join(err, l.err)
}
