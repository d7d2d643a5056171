// Command campaign injects faults into a deployment of two nodes while load
// runs, and lets the checker of histories judge what the clients saw.
//
// Each class of faults has a history of its own: a load that lasts over all its
// cycles, and beside it what the campaign did and read (docs/history.md). The
// order of the classes, the targets and the moments come from the seed. A class
// fails by an invariant of the history or by one of the figures: readiness,
// outbox, answers, repeats, tail, flow (docs/reliability.md).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// options are the flags.
type options struct {
	nova   string
	seed   uint64
	faults string
	cycles int
	rate   float64
	short  bool
	json   string
	keep   bool
}

// The exit codes.
const (
	exitBroken = 1 // an invariant or a figure
	exitUnable = 2 // the campaign could not run, or not judge what it must
)

func main() {
	var o options
	flag.StringVar(&o.nova, "nova", "bin/nova", "the binary")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the order, the targets and the moments")
	flag.StringVar(&o.faults, "faults", "all", "the classes, with commas: "+strings.Join(names(), ", "))
	flag.IntVar(&o.cycles, "cycles", 1, "how often each class is played")
	flag.Float64Var(&o.rate, "rate", 100, "messages per second in all")
	flag.BoolVar(&o.short, "short", false, "faults are in force for less long, for CI")
	flag.StringVar(&o.json, "json", "", "write the result to this file")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder with the histories; what failed is always kept")
	flag.Parse()
	out, err := o.run(context.Background(), os.Stderr)
	if err == nil {
		err = out.report(os.Stdout, o.json)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "campaign:", err)
		os.Exit(exitUnable)
	}
	os.Exit(out.code())
}

// run plays all classes. An error says that there is no result.
func (o options) run(ctx context.Context, say io.Writer) (out outcome, err error) {
	classes, err := choose(o.faults)
	if err != nil {
		return out, err
	}
	if o.cycles < 1 || o.rate <= 0 {
		return out, errors.New("there must be a cycle, and a rate above 0")
	}
	out = outcome{Seed: o.seed, Cycles: o.cycles, Rate: o.rate, Again: o.again()}
	_, _ = fmt.Fprintf(say, "campaign: %s\n", out.Again)
	if out.Dir, err = os.MkdirTemp("", "nova-campaign-"); err != nil {
		return out, err
	}
	defer func() {
		if out.Kept = o.keep || err != nil || out.code() != 0; !out.Kept {
			err = errors.Join(err, os.RemoveAll(out.Dir))
		} else {
			_, _ = fmt.Fprintln(say, "campaign: histories and logs are in", out.Dir)
		}
	}()
	logs, err := obs.New(obs.Config{})
	if err != nil {
		return out, err
	}
	g := run.New(logs)
	defer g.Stop(ctx)
	c := campaign{options: o, logs: logs, group: g, say: say, dir: out.Dir}
	begin := time.Now()
	out.Chapters, err = c.play(ctx, classes)
	out.Seconds = time.Since(begin).Seconds()
	return out, err
}

// again is the command that repeats the run.
func (o options) again() string {
	text := fmt.Sprintf("go run ./test/campaign -nova %s -seed %d -faults %s -cycles %d -rate %g", o.nova, o.seed, o.faults, o.cycles, o.rate)
	if o.short {
		text += " -short"
	}
	return text
}

// campaign is a run.
type campaign struct {
	options
	logs  *obs.Obs
	group *run.Group
	say   io.Writer
	dir   string
}

// play plays the classes in the seed's order, on one deployment for all that
// need the same number of brokers.
func (c *campaign) play(ctx context.Context, classes []class) (all []chapter, err error) {
	for _, part := range schedule(classes, c.seed) {
		chapters, err := c.part(ctx, part)
		all = append(all, chapters...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

func (c *campaign) part(ctx context.Context, part part) (all []chapter, err error) {
	d, err := deploy(ctx, c.nova, c.dir, part.brokers, len(part.classes)*devices)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	for _, class := range part.classes {
		// Each class draws from a source of its own, so that it meets the same
		// whether it is played alone or among others.
		r := rand.New(rand.NewPCG(c.seed, class.number()))
		one, err := c.chapter(ctx, d, class, r)
		if err != nil {
			return all, fmt.Errorf("%s: %w\n%s", class.name, err, d.complaints())
		}
		all = append(all, one)
		_, _ = fmt.Fprintln(c.say, "campaign:", one)
	}
	last, err := c.epilogue(ctx, d)
	return append(all, last), err
}
