package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/web"
	"github.com/nova-chat/nova/internal/ws"
)

type runner struct {
	opts    Options
	group   *run.Group
	target  target
	journal *journal      // nil = no history
	stopped chan struct{} // the history's reader has ended; nil = there is none
	meter   meter
	convs   []*conversation
	devices []*device

	ctx    context.Context // the life of devices, longer than that of the measurement
	cancel context.CancelFunc
	wg     sync.WaitGroup

	begin     time.Time
	phase     atomic.Value // string
	sending   atomic.Bool
	saturated atomic.Bool
}

// Run puts the load on the target and judges it. When ctx ends, sending stops,
// and what is under way is still awaited and judged. Its goroutines are the
// group's, and have ended when Run returns. An error means that there is no
// result; what went wrong in the middle is in the result.
func Run(ctx context.Context, _ *obs.Obs, g *run.Group, opts Options) (Result, error) {
	if err := opts.fill(); err != nil {
		return Result{}, err
	}
	r := &runner{opts: opts, group: g}
	defer func() { r.target.close() }()
	for _, base := range opts.targets() {
		client, err := web.NewClient(base, web.ClientOptions{})
		if err != nil {
			return Result{}, fmt.Errorf("target: %w", err)
		}
		r.target.nodes = append(r.target.nodes, client)
	}
	r.meter.errors, r.meter.closes = map[string]int{}, map[int]int{}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer r.cancel()
	r.write()
	res, err := r.whole(ctx)
	r.end()
	return res, errors.Join(err, r.journal.close())
}

// whole is the run from the first call to the judgement.
func (r *runner) whole(ctx context.Context) (Result, error) {
	r.enter("connect")
	version := r.target.version(ctx)
	if err := r.prepare(ctx); err != nil {
		return Result{}, err
	}
	before := r.scrape(ctx)
	seconds := r.drive(ctx)
	unsent := r.drain()
	r.stopReader()
	r.observe()
	r.counterRows(before, r.scrape(r.ctx))
	res := r.result(seconds)
	res.Version, res.Unsent, res.Interrupted = version, unsent, ctx.Err() != nil
	if r.opts.History != nil {
		r.enter("history")
		r.readLogs()
	}
	if r.opts.Verify {
		r.enter("verify")
		if err := r.verify(&res.Ledger); err != nil {
			return res, err
		}
	}
	for _, c := range r.convs {
		c.account(&res.Ledger)
	}
	return res, nil
}

// spawn starts a goroutine that the end of the run awaits. It ends early when
// the group does.
func (r *runner) spawn(name string, fn func(context.Context)) {
	r.wg.Add(1)
	r.group.Go(r.ctx, name, func(own context.Context) {
		defer r.wg.Done()
		defer context.AfterFunc(own, r.cancel)()
		fn(r.ctx)
	})
}

func (r *runner) enter(phase string) { r.phase.Store(phase) }

func (r *runner) prepare(ctx context.Context) error {
	sessions := r.opts.Sessions
	if len(sessions) == 0 {
		made, err := register(ctx, r.target.first(), r.opts.devices())
		if err != nil {
			return err
		}
		sessions = made
	}
	for i := range r.opts.devices() {
		r.devices = append(r.devices, newDevice(r, i, sessions[i]))
	}
	if err := r.converse(ctx); err != nil {
		return err
	}
	r.declare()
	return r.connect(ctx)
}

// converse makes the conversations and seats the devices.
func (r *runner) converse(ctx context.Context) error {
	pairs, group := r.devices[:2*r.opts.Pairs], r.devices[2*r.opts.Pairs:]
	for pair := range slices.Chunk(pairs, 2) {
		if err := r.seat(ctx, pair, 2, false); err != nil {
			return err
		}
	}
	if r.opts.Members > 0 { // idle devices have no conversation
		return r.seat(ctx, group, r.opts.Senders, true)
	}
	return nil
}

func (r *runner) seat(ctx context.Context, devices []*device, senders int, group bool) error {
	var members []Session
	for _, d := range devices {
		members = append(members, d.session)
	}
	id, last, err := r.target.converse(ctx, members, group)
	if err != nil {
		return err
	}
	c := newConversation(id, last, bytes.Repeat([]byte{'.'}, r.opts.Size-uuidLen))
	r.convs = append(r.convs, c)
	for i, d := range devices {
		in := c.join(d.index)
		d.inboxes[id] = in
		if i < senders {
			d.sends = in
		}
	}
	return nil
}

// parallelDials is how many sockets are opened at a time.
const parallelDials = 32

// connect opens every socket, and gives the first error if one cannot.
func (r *runner) connect(ctx context.Context) error {
	slots, results := make(chan struct{}, parallelDials), make(chan error, len(r.devices))
	r.spawn("load.dial", func(context.Context) {
		for _, d := range r.devices {
			slots <- struct{}{}
			r.spawn("load.device", func(life context.Context) {
				d.keep(life, func(err error) {
					<-slots
					results <- err
				})
			})
		}
	})
	var errs []error
	for range r.devices {
		select {
		case err := <-results:
			if err != nil {
				errs = append(errs, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("connect: %w", context.Cause(ctx))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	err := fmt.Errorf("%d of %d sockets could not be opened, the first: %w", len(errs), len(r.devices), errs[0])
	if fault.Is(errs[0], fault.CodeRateLimited) {
		err = fmt.Errorf("%w\nThe limits connects_per_address and sockets_per_user are settings of the server: NOVA_LIMITS_CONNECTS_PER_ADDRESS, NOVA_LIMITS_SOCKETS_PER_USER", err)
	}
	return err
}

// drive sends for as long as the options say, and gives the measured seconds.
func (r *runner) drive(ctx context.Context) float64 {
	r.begin = time.Now()
	r.sending.Store(true)
	r.spawn("load.tend", r.tend)
	r.spawn("load.progress", r.progress)
	if r.journal != nil {
		r.startReader()
	}
	var senders []*device
	for _, d := range r.devices {
		if d.sends != nil {
			senders = append(senders, d)
			r.spawn("load.sender", d.send)
		}
	}
	sendCtx, stop := context.WithCancel(ctx)
	defer stop()
	r.start(sendCtx, senders)
	r.enter("warm-up")
	sleep(ctx, r.opts.Warmup)
	r.enter("measure")
	r.meter.measuring.Store(true)
	begin := time.Now()
	sleep(ctx, r.opts.Duration)
	r.meter.measuring.Store(false)
	return time.Since(begin).Seconds()
}

func (r *runner) start(ctx context.Context, senders []*device) {
	if r.opts.Rate > 0 && len(senders) > 0 {
		r.spawn("load.pace", func(context.Context) { r.pace(ctx, senders) })
		return
	}
	for _, d := range senders {
		for range r.opts.Window {
			d.push(time.Now())
		}
	}
}

// step counts one answer or first receipt of m. With the last of them m leaves
// its sender's window.
func (r *runner) step(m *message) {
	if m.left.Add(-1) == 0 {
		r.done(m)
	}
}

// abandon gives up a message that was refused for good.
func (r *runner) abandon(m *message) {
	if m.left.Swap(-1<<30) > 0 {
		r.done(m)
	}
}

func (r *runner) done(m *message) {
	r.meter.outstanding.Add(-1)
	if r.opts.Rate == 0 && r.sending.Load() {
		r.devices[m.from.device].push(time.Now())
	}
}

// drain stops sending and waits for what is under way. It gives the number of
// messages that were due and never sent.
func (r *runner) drain() int {
	r.enter("settle")
	r.sending.Store(false)
	unsent := 0
	for _, d := range r.devices {
		unsent += d.discard()
	}
	if r.opts.Rate == 0 {
		unsent = 0 // the closed loop owes nothing
	}
	last, since := r.state(), time.Now()
	for last.outstanding > 0 && time.Since(since) < r.opts.Settle && sleep(r.ctx, 20*time.Millisecond) {
		if now := r.state(); now != last {
			last, since = now, time.Now()
		}
	}
	return unsent
}

type state struct{ acked, delivered, outstanding, connected, reconnects int64 }

func (r *runner) state() state {
	m := &r.meter
	return state{m.acked.Load(), m.delivered.Load(), m.outstanding.Load(), m.connected.Load(), m.reconnects.Load()}
}

// verify reads every conversation's log and compares it with what was sent.
func (r *runner) verify(l *Ledger) error {
	for _, c := range r.convs {
		var readers []Session
		for _, in := range c.inboxes {
			readers = append(readers, r.devices[in.device].account())
		}
		var log []logged
		err := r.target.history(r.ctx, readers, c.id, c.base, func(page []logged) { log = append(log, page...) })
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		c.reconcile(l, log)
	}
	l.Verified = true
	return nil
}

// end closes all sockets and waits for the goroutines.
func (r *runner) end() {
	for _, d := range r.devices {
		d.end()
	}
	gone := make(chan struct{})
	r.group.Go(r.ctx, "load.end", func(context.Context) {
		r.wg.Wait()
		close(gone)
	})
	const polite = 3 * time.Second // until the server has answered the close frames
	t := time.AfterFunc(polite, func() {
		for _, d := range r.devices {
			d.cut()
		}
	})
	defer t.Stop()
	r.cancel()
	<-gone
}

// closed counts the end of a socket that the run did not end itself, or an
// attempt to reconnect that failed.
func (r *runner) closed(up bool, err error) {
	switch {
	case up:
		r.meter.closed(ws.CloseCode(err))
	case errors.Is(err, context.Canceled):
	default:
		r.meter.attempts.Add(1)
	}
}
