package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/load"
)

// longest is the time after which the generator ends by itself.
const longest = 24 * time.Hour

// generator is the load of one chapter.
type generator struct {
	cancel context.CancelFunc
	ticks  chan load.Progress
	done   chan struct{}
	result load.Result
	err    error
}

func (c *campaign) startLoad(ctx context.Context, opts load.Options) *generator {
	ctx, cancel := context.WithCancel(ctx)
	l := &generator{cancel: cancel, ticks: make(chan load.Progress, 1), done: make(chan struct{})}
	opts.Report = func(p load.Progress) {
		select {
		case l.ticks <- p:
		default: // nobody waits
		}
	}
	c.group.Go(ctx, "campaign.load", func(context.Context) {
		defer close(l.done)
		l.result, l.err = load.Run(ctx, c.logs, c.group, opts)
	})
	return l
}

// flows waits until messages are acknowledged, everybody is there, and what had
// to wait is answered and delivered: a fault must not meet what is left of the
// one before it.
func (l *generator) flows() error {
	limit := time.After(flowWithin)
	select {
	case <-l.ticks: // it may be old
	default:
	}
	for {
		select {
		case p := <-l.ticks:
			if p.Sends > 0 && p.Connected == devices && p.Outstanding < devices {
				return nil
			}
		case <-l.done:
			return errors.Join(errors.New("the generator ended"), l.err)
		case <-limit:
			return errStalled
		}
	}
}

var errStalled = fmt.Errorf("not everybody sends, is answered and gets what is sent within %s", flowWithin)

// end stops sending; what is under way is awaited and judged.
func (l *generator) end(err error) (load.Result, error) {
	l.cancel()
	<-l.done
	return l.result, errors.Join(err, l.err)
}
