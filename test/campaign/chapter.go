package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/load"
	"github.com/nova-chat/nova/test/servers"
)

// Who takes part: pairs, of whom both send, and a group. The last of the group
// is somebody whose second device has its session ended.
const (
	pairs   = 10
	members = 10
	senders = 6
	devices = 2*pairs + members
)

const (
	drainWithin = 30 * time.Second // for the outbox, after a fault
	backWithin  = 30 * time.Second // until readiness is as ever
	flowWithin  = time.Minute
)

// window is when a stroke was in force, by the history's clock.
type window struct {
	stroke
	begin  time.Duration // of the injection
	from   time.Duration // it is in force
	to     time.Duration // the healing begins
	healed time.Duration // and has ended
}

// play is one class while it is played.
type play struct {
	*campaign
	*scene
	class   class
	clock   time.Time
	watches []*watch
	load    *generator
	topics  servers.KafkaPlace // where they ended when it began
	windows []window
	drained []time.Duration // of the outbox, by stroke
	sight   *sight
	// arrivals are when the brokers had the events of messages.
	arrivals map[place]time.Time
	enrolled []string // accounts that were made meanwhile
	result   *chapter
}

// chapter plays a class and judges it. An error says that it could not be
// played to its end, or not be judged.
func (c *campaign) chapter(ctx context.Context, d *deployment, of class, r *rand.Rand) (one chapter, err error) {
	p := &play{campaign: c, class: of, clock: time.Now(), arrivals: map[place]time.Time{}, result: &one}
	own, run := c.file(of.name, ".own"), id.New()
	one = chapter{Name: of.name, Cycles: c.cycles, Files: []string{c.file(of.name, ".load"), own}}
	j, err := newJournal(own, run, p.clock)
	if err != nil {
		return one, err
	}
	p.scene = &scene{deployment: d, Rand: r, journal: j, short: c.short}
	if err := errors.Join(p.whole(ctx, run), j.close()); err != nil {
		return one, err
	}
	if err := one.check(ctx, of.judgedBy()); err != nil {
		return one, err
	}
	p.figures()
	return one, nil
}

func (c *campaign) file(name, kind string) string {
	return filepath.Join(c.dir, name+kind+".jsonl")
}

// whole is the chapter from the first message to the last event.
func (p *play) whole(ctx context.Context, run string) (err error) {
	if p.topics, err = p.kafka.End(ctx, topics...); err != nil {
		return err
	}
	friend, err := p.register(ctx)
	if err != nil {
		return err
	}
	stop, err := p.watch(ctx)
	if err != nil {
		return err
	}
	defer stop()
	file, err := os.Create(p.result.Files[0])
	if err != nil {
		return err
	}
	sessions := append(p.take(devices-1), friend.first)
	p.load = p.startLoad(ctx, load.Options{
		Target: "http://" + p.nodes[0].Public, Others: []string{"http://" + p.nodes[1].Public},
		Admins:   []string{"http://" + p.nodes[0].Admin, "http://" + p.nodes[1].Admin},
		Sessions: sessions, Scenario: load.Mixed, Pairs: pairs, Members: members, Senders: senders, Rate: p.rate,
		Warmup: time.Millisecond, Duration: longest, Settle: 20 * time.Second, Reconnect: true,
		History: file, Run: run, Clock: p.clock,
	})
	err = p.cycles(ctx)
	if errors.Is(err, errStalled) { // what the clients saw of it is judged all the same
		p.result.bad(figureFlow, "%v", err)
		err = nil
	}
	if err == nil {
		err = friend.revoke(ctx, p)
	}
	p.result.Load, err = p.load.end(err)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := p.look(); err != nil {
		return err
	}
	return errors.Join(p.quiet(ctx), p.profiles(ctx, friend))
}

// look reads what the generator has written down.
func (p *play) look() error {
	f, err := os.Open(p.result.Files[0])
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	p.sight, err = readSight(f)
	return err
}

// watch starts to look at readiness.
func (p *play) watch(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	for _, n := range p.nodes {
		w, err := newWatch(n, p.clock)
		if err != nil {
			cancel()
			return nil, err
		}
		p.watches = append(p.watches, w)
		p.group.Go(ctx, "campaign.readiness", func(context.Context) { w.run(ctx) })
	}
	return cancel, nil
}

// cycles plays the strokes of all cycles.
func (p *play) cycles(ctx context.Context) error {
	for n := range p.campaign.cycles {
		for _, st := range p.class.cycle(p.scene) {
			if err := p.load.flows(); err != nil {
				return fmt.Errorf("cycle %d: %w", n+1, err)
			}
			pause(ctx, p.between(200*time.Millisecond, time.Second))
			if err := p.strike(ctx, st); err != nil {
				return fmt.Errorf("cycle %d, %s: %w", n+1, st.text, err)
			}
		}
	}
	return p.load.flows()
}

// strike does one thing to the deployment, takes it back and waits until
// everything is as ever.
func (p *play) strike(ctx context.Context, st stroke) error {
	name := fmt.Sprintf("%d: %s", len(p.windows)+1, st.text)
	if p.class.accounts {
		enrolment := p.enrol(ctx)
		defer func() { p.enrolled = append(p.enrolled, enrolment.stop()...) }()
	}
	w := window{stroke: st, begin: p.journal.now()}
	p.journal.row("fault", fields{"name": name, "t": w.begin})
	if err := st.inject(ctx); err != nil {
		return fmt.Errorf("inject: %w", err)
	}
	w.from = p.journal.now()
	pause(ctx, st.hold)
	w.to = p.journal.now()
	if err := st.heal(ctx); err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	w.healed = p.journal.now()
	p.journal.row("heal", fields{"name": name, "t": w.healed})
	p.windows = append(p.windows, w)
	for _, watch := range p.watches { // what does not come back fails by the polls
		await(ctx, backWithin, func() bool { return watch.last() == ready })
	}
	p.drain(ctx, w.healed)
	pause(ctx, agreeWithin+2*pollEvery-(p.journal.now()-w.healed))
	return ctx.Err()
}

// await waits until something holds, and says whether it does.
func await(ctx context.Context, within time.Duration, holds func() bool) bool {
	for limit := time.Now().Add(within); ; pause(ctx, pollEvery/2) {
		if holds() {
			return true
		}
		if time.Now().After(limit) || ctx.Err() != nil {
			return false
		}
	}
}
