package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nova-chat/nova/internal/load"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

type loadCommand struct {
	Target    []string      `help:"Base URL of the public listener; several nodes with commas or by repeating it." default:"http://127.0.0.1:8080" placeholder:"URL" env:"NOVA_TARGET"`
	Sessions  string        `help:"Sessions from nova seed; without it users are registered." placeholder:"FILE" env:"NOVA_SESSIONS"`
	Scenario  string        `help:"direct, group, mixed (both) or idle." enum:"direct,group,mixed,idle" default:"direct" env:"NOVA_SCENARIO"`
	Pairs     int           `help:"direct, mixed: conversations of two, both of whom send (10)." placeholder:"N" env:"NOVA_PAIRS"`
	Members   int           `help:"group, mixed: members of the one conversation (20)." placeholder:"N" env:"NOVA_MEMBERS"`
	Senders   int           `help:"group, mixed: how many of them send (5)." placeholder:"N" env:"NOVA_SENDERS"`
	Conns     int           `help:"idle: sockets (20)." placeholder:"N" env:"NOVA_CONNS"`
	Window    int           `help:"Closed loop: messages under way per sender; one leaves when it is answered and has reached all others (1)." placeholder:"N" env:"NOVA_WINDOW"`
	Rate      float64       `help:"Open loop: messages per second in all; latency counts from when each was due." placeholder:"N" env:"NOVA_RATE"`
	Size      int           `help:"Bytes of a message's text (128)." placeholder:"N" env:"NOVA_SIZE"`
	Warmup    time.Duration `help:"Time before figures count (1s, at most a fifth of the duration)." placeholder:"DURATION" env:"NOVA_WARMUP"`
	Duration  time.Duration `help:"Time of the measurement." default:"10s" placeholder:"DURATION" env:"NOVA_DURATION"`
	Settle    time.Duration `help:"Time without progress at the end after which what is missing is lost." default:"10s" placeholder:"DURATION" env:"NOVA_SETTLE"`
	Reconnect bool          `help:"Sockets that close come back, resume, and send first what had no answer. Implies --verify." env:"NOVA_RECONNECT"`
	Verify    bool          `help:"Read the log over REST at the end and compare it with what was sent." env:"NOVA_VERIFY"`
	JSON      string        `help:"Write the result to this file; - is standard output." placeholder:"FILE" env:"NOVA_JSON"`
	History   string        `help:"Write what every device sent and received to this file, for nova check-history." placeholder:"FILE" env:"NOVA_HISTORY"`
	Admin     []string      `help:"Base URLs of the nodes' admin listeners: with --history their counters are noted too." placeholder:"URL,URL" env:"NOVA_ADMIN"`
	OwnTarget bool          `name:"i-own-this-target" help:"Allow a target that is not on this machine."`
}

// Run puts the load on the target. Progress and the summary go to standard
// error; exit code 1 says that something was lost, doubled or misordered.
func (c *loadCommand) Run(ctx context.Context, std streams) error {
	opts, err := c.options(std)
	if err != nil {
		return err
	}
	raiseFileLimit()
	o, err := obs.New(obs.Config{Out: std.err})
	if err != nil {
		return err
	}
	g := run.New(o)
	defer g.Stop(context.WithoutCancel(ctx))
	result, err := c.load(ctx, o, g, opts)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprint(std.err, result)
	if err := c.write(std, result); err != nil {
		return err
	}
	bad := result.Verdict()
	for _, sentence := range bad {
		_, _ = fmt.Fprintln(std.err, "nova: "+sentence)
	}
	if len(bad) > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

// load runs, with a history if there is to be one.
func (c *loadCommand) load(ctx context.Context, o *obs.Obs, g *run.Group, opts load.Options) (load.Result, error) {
	if c.History == "" {
		return load.Run(ctx, o, g, opts)
	}
	f, err := os.Create(c.History)
	if err != nil {
		return load.Result{}, fmt.Errorf("--history: %w", err)
	}
	opts.History = f
	result, err := load.Run(ctx, o, g, opts)
	return result, errors.Join(err, f.Close())
}

func (c *loadCommand) options(std streams) (load.Options, error) {
	opts := load.Options{
		Target: c.Target[0], Others: c.Target[1:], Admins: c.Admin, OwnThis: c.OwnTarget, Scenario: load.Scenario(c.Scenario),
		Pairs: c.Pairs, Members: c.Members, Senders: c.Senders, Conns: c.Conns, Window: c.Window, Rate: c.Rate,
		Size: c.Size, Warmup: c.Warmup, Duration: c.Duration, Settle: c.Settle,
		Reconnect: c.Reconnect, Verify: c.Verify || c.Reconnect,
		Report: func(p load.Progress) { _, _ = fmt.Fprintln(std.err, p) },
	}
	if c.Sessions == "" {
		return opts, nil
	}
	f, err := os.Open(c.Sessions)
	if err != nil {
		return opts, fmt.Errorf("--sessions: %w", err)
	}
	defer func() { _ = f.Close() }()
	if opts.Sessions, err = load.ReadSessions(f); err != nil {
		return opts, fmt.Errorf("--sessions: %w", err)
	}
	return opts, nil
}

func (c *loadCommand) write(std streams, result load.Result) error {
	switch c.JSON {
	case "":
		return nil
	case "-":
		return printJSON(std.out, result)
	}
	f, err := os.Create(c.JSON)
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	if err := printJSON(f, result); err != nil {
		_ = f.Close()
		return fmt.Errorf("--json: %w", err)
	}
	return f.Close()
}
