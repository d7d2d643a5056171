package audit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/load"
)

// traffic is what runs while the node restarts.
type traffic struct {
	t      *target
	posts  poster
	sends  atomic.Int64 // acknowledged over sockets so far
	cancel context.CancelFunc
	wg     sync.WaitGroup
	result load.Result
	err    error
}

func (tr *traffic) start(ctx context.Context, people []*device) {
	ctx, tr.cancel = context.WithCancel(ctx)
	opts := load.Options{
		Target: tr.t.opts.Public, OwnThis: true, Scenario: load.Direct, Pairs: len(people) / 2, Rate: socketRate,
		Duration: checkWithin, Settle: 5 * time.Second, Reconnect: true, Verify: true,
		Report: func(p load.Progress) { tr.sends.Add(p.Sends) },
	}
	for _, d := range people { // without the refresh, which would end the audit's own
		opts.Sessions = append(opts.Sessions, load.Session{UserID: d.user, Username: d.name, DeviceID: d.device, AccessToken: d.access})
	}
	tr.wg.Add(2)
	tr.t.group.Go(ctx, "audit.sockets", func(context.Context) {
		defer tr.wg.Done()
		tr.result, tr.err = load.Run(ctx, tr.t.obs, tr.t.group, opts)
	})
	tr.t.group.Go(ctx, "audit.posts", func(context.Context) {
		defer tr.wg.Done()
		tr.posts.run(ctx)
	})
}

// restart runs the command under traffic, and waits until traffic flows again.
func (tr *traffic) restart(ctx context.Context) error {
	const within = 15 * time.Second
	ok, err := wait(ctx, within, func() (bool, error) { return tr.sends.Load() > 0 && tr.posts.count.Load() > 0, nil })
	if err != nil || !ok {
		return errors.Join(err, cannot("there was no traffic after %s", within))
	}
	if err := pause(ctx, trafficBefore); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, restartWithin)
	defer cancel()
	if err := tr.t.opts.Restart(limited); err != nil {
		return cannot("%v", err)
	}
	ok, err = wait(ctx, restartWithin, func() (bool, error) {
		_, err := tr.t.public.Do(ctx, http.MethodGet, "/readyz", nil, nil)
		return err == nil, nil
	})
	if err != nil || !ok {
		return errors.Join(err, cannot("the node was not ready %s after its restart", restartWithin))
	}
	return pause(ctx, trafficAfter)
}

func (tr *traffic) stop() (load.Result, error) {
	tr.cancel()
	tr.wg.Wait()
	return tr.result, tr.err
}

// poster sends numbered messages over REST, each again and again under the same
// identifier until there is a definite answer.
type poster struct {
	from         *device
	conversation string
	count        atomic.Int64
	refused      int
	acked        map[string]message // by client message identifier
}

func (p *poster) run(ctx context.Context) {
	for n := 1; ctx.Err() == nil; n++ {
		p.one(ctx, fmt.Sprintf("post-%d", n))
		if pause(ctx, postEvery) != nil {
			return
		}
	}
}

func (p *poster) one(ctx context.Context, client string) {
	for ctx.Err() == nil {
		m, _, err := p.from.post(ctx, p.conversation, client, client)
		switch {
		case err == nil:
			p.acked[client] = m
			p.count.Add(1)
			return
		case !fault.CodeOf(err).Retryable() && ctx.Err() == nil:
			p.refused++
			return
		}
		const again = 100 * time.Millisecond
		if pause(ctx, again) != nil {
			return
		}
	}
}
