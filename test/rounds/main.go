// Command rounds ends a running server again and again under load, in order
// and by force, at random moments, and judges what is left by the generator's
// ledger: nothing that was acknowledged may be lost, doubled or misordered. Of
// a deployment of several processes each round ends one, at random.
//
// All rounds happen within one run of the generator, so that the judgement at
// the end covers every message, whatever round it met.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// options are the flags.
type options struct {
	nova       string
	deployment string
	term, kill int
	senders    int
	rate       float64
	seconds    float64
	seed       uint64
	json       string
	keep       bool
}

func main() {
	var o options
	flag.StringVar(&o.nova, "nova", "bin/nova", "the binary")
	flag.StringVar(&o.deployment, "deployment", "sqlite", "what is ended: "+strings.Join(kinds, ", "))
	flag.IntVar(&o.term, "term", 3, "rounds that end with SIGTERM")
	flag.IntVar(&o.kill, "kill", 3, "rounds that end with SIGKILL")
	flag.IntVar(&o.senders, "senders", 200, "users that send, two to a conversation")
	flag.Float64Var(&o.rate, "rate", 0, "messages per second in all; 0 = as fast as they are answered")
	flag.Float64Var(&o.seconds, "seconds", 3, "the longest time under load before a round ends")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the random order and moments")
	flag.StringVar(&o.json, "json", "", "write the result to this file")
	flag.BoolVar(&o.keep, "keep", false, "keep the data folder")
	flag.Parse()
	good, err := o.run(context.Background())
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "rounds:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

// run plays all rounds and says whether they went well.
func (o options) run(ctx context.Context) (good bool, err error) {
	if o.term < 0 || o.kill < 0 || o.term+o.kill == 0 || o.senders < 2 || o.senders%2 != 0 || o.seconds <= 0 {
		return false, errors.New("there must be a round, an even number of senders, and time")
	}
	_, _ = fmt.Fprintf(os.Stderr, "rounds: -deployment %s, %d SIGTERM, %d SIGKILL, %d senders, -seed %d\n", o.deployment, o.term, o.kill, o.senders, o.seed)
	dir, err := os.MkdirTemp("", "nova-rounds-")
	if err != nil {
		return false, err
	}
	if o.keep {
		_, _ = fmt.Fprintln(os.Stderr, "rounds: data in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	d, err := deploy(o.deployment, o.nova, dir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	sessions, err := d.seed(o.senders)
	if err != nil {
		return false, err
	}
	if err := d.start(); err != nil {
		return false, err
	}
	logs, err := obs.New(obs.Config{})
	if err != nil {
		return false, err
	}
	g := run.New(logs)
	defer g.Stop(ctx)
	l := startLoad(ctx, logs, g, o.load(d.targets, sessions))
	out := outcome{Deployment: o.deployment, Seed: o.seed, Senders: o.senders}
	begin := time.Now()
	out.Rounds, err = o.rounds(d, l)
	if out.Result, err = l.end(err); err != nil {
		return false, fmt.Errorf("%w\n%s", err, d.complaints())
	}
	out.Rounds = append(out.Rounds, d.stop()...)
	out.Seconds, out.Errors = time.Since(begin).Seconds(), d.errors()
	return out.report(o.json)
}

// rounds plays the rounds in random order.
func (o options) rounds(d *deployment, l *generator) ([]round, error) {
	r := rand.New(rand.NewPCG(o.seed, 0))
	signals := make([]syscall.Signal, o.term+o.kill)
	for i := range signals {
		signals[i] = syscall.SIGKILL
		if i < o.term {
			signals[i] = syscall.SIGTERM
		}
	}
	r.Shuffle(len(signals), func(i, j int) { signals[i], signals[j] = signals[j], signals[i] })
	var all []round
	for i, signal := range signals {
		if err := l.flows(); err != nil {
			return all, fmt.Errorf("round %d: %w", i+1, err)
		}
		moment := time.Duration(r.Float64() * o.seconds * float64(time.Second))
		l.pause(moment)
		before, p := l.acked(), d.pick(r)
		begin := time.Now()
		one := ended(strconv.Itoa(i+1), p, signal)
		one.After, one.Acked = moment.Milliseconds(), before
		if err := p.Start(); err != nil {
			return all, fmt.Errorf("round %d: %s: %w", i+1, p.name, err)
		}
		one.Down = time.Since(begin).Milliseconds()
		all = append(all, one)
		_, _ = fmt.Fprintln(os.Stderr, "rounds:", one)
	}
	return all, l.flows()
}

func writeJSON(name string, v any) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	e := json.NewEncoder(f)
	e.SetIndent("", "  ")
	return errors.Join(e.Encode(v), f.Close())
}
