package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/history"
)

// bench is where mutants are built and played.
type bench struct {
	dir      string
	campaign string // the binary
}

// result is what the checker said of one binary and one class of faults.
type result struct {
	mutant
	broken  []string // invariants
	unable  string   // why there is no verdict
	seconds float64
}

// good says whether it is what was declared: a mutant's invariant, or nothing
// at all. The campaign's figures, such as slow answers, prove no mutant, and are
// not judged here of Nova itself.
func (r result) good() bool {
	if len(r.named) == 0 {
		return r.unable == "" && len(r.broken) == 0
	}
	return slices.ContainsFunc(r.named, func(name string) bool { return slices.Contains(r.broken, name) })
}

func (r result) wanted() string {
	return cmp.Or(strings.Join(r.named, " or "), "nothing broken")
}

func (r result) said() string {
	return cmp.Or(strings.Join(r.broken, " "), r.unable, "-")
}

func (r result) String() string {
	return fmt.Sprintf("%s, %s, -seed %d: %s (%.0f s)", r.tag, r.fault, r.seed, r.said(), r.seconds)
}

func build(ctx context.Context, to, what string, tags ...string) error {
	args := []string{"build", "-trimpath", "-o", to}
	if len(tags) > 0 {
		args = append(args, "-tags", strings.Join(tags, ","))
	}
	out, err := exec.CommandContext(ctx, "go", append(args, what)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build %s: %w\n%s", what, err, out)
	}
	return nil
}

// play builds a mutant and plays its class of faults on it. One that has no
// verdict does not keep the others from theirs.
func (b bench) play(ctx context.Context, m mutant) result {
	nova := filepath.Join(b.dir, m.tag)
	if err := build(ctx, nova, "./cmd/nova", "mutant", m.tag); err != nil {
		return result{mutant: m, unable: err.Error()}
	}
	defer func() { _ = os.Remove(nova) }()
	said, err := b.run(ctx, nova, m.seed, m.fault)
	if err != nil {
		return result{mutant: m, unable: err.Error()}
	}
	return said[0].of(m)
}

// unchanged plays the classes of faults of all the mutants on Nova itself, each
// with every seed that a mutant has it with.
func (b bench) unchanged(ctx context.Context, chosen []mutant) (all []result, err error) {
	nova := filepath.Join(b.dir, "nova")
	if err := build(ctx, nova, "./cmd/nova"); err != nil {
		return nil, err
	}
	bySeed := map[uint64][]string{}
	for _, m := range chosen {
		if !slices.Contains(bySeed[m.seed], m.fault) {
			bySeed[m.seed] = append(bySeed[m.seed], m.fault)
		}
	}
	for seed, faults := range bySeed {
		said, err := b.run(ctx, nova, seed, faults...)
		if err != nil {
			return all, fmt.Errorf("nova: %w", err)
		}
		for _, s := range said {
			r := s.of(mutant{tag: "(none)", fault: s.Fault, seed: seed})
			_, _ = fmt.Fprintln(os.Stderr, "mutants:", r)
			all = append(all, r)
		}
	}
	return all, nil
}

// verdict is what a campaign says of one class of faults.
type verdict struct {
	Fault     string   `json:"fault"`
	Broken    []string `json:"broken"`
	NotJudged []string `json:"not_judged"`
	seconds   float64
}

func (v verdict) of(m mutant) result {
	r := result{mutant: m, seconds: v.seconds}
	for _, name := range v.Broken {
		if slices.Contains(history.Names(), name) {
			r.broken = append(r.broken, name)
		}
	}
	if len(v.NotJudged) > 0 {
		r.unable = "not judged: " + strings.Join(v.NotJudged, " ")
	}
	return r
}

// run plays classes of faults on a binary. A campaign that could not be played
// to its end has no verdict, and that is an error.
func (b bench) run(ctx context.Context, nova string, seed uint64, faults ...string) ([]verdict, error) {
	file := filepath.Join(b.dir, "result.json")
	cmd := exec.CommandContext(ctx, b.campaign, "-nova", nova, "-seed", strconv.FormatUint(seed, 10), "-faults", strings.Join(faults, ","), "-json", file)
	cmd.Env = append(os.Environ(), "TMPDIR="+b.dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	begin := time.Now()
	failed := cmd.Run() // a broken invariant is an exit code too: the file tells
	seconds := time.Since(begin).Seconds()
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.Join(failed, fmt.Errorf("no verdict:\n%s", said.String()))
	}
	var outcome struct {
		Faults []verdict `json:"faults"`
	}
	if err := errors.Join(json.Unmarshal(text, &outcome), os.Remove(file)); err != nil {
		return nil, err
	}
	for i := range outcome.Faults {
		outcome.Faults[i].seconds = seconds / float64(len(faults))
	}
	if len(outcome.Faults) == 0 {
		return nil, errors.New("no class was played")
	}
	return outcome.Faults, nil
}
