// Command mutants proves that the checker of histories finds what it is there
// for: it builds Nova with one defect after the other, plays a class of the
// campaign's faults on each, and wants one of the declared invariants named as
// broken. Nova itself must hold with the same faults and seeds, else it would be
// the campaign that is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
)

// options are the flags.
type options struct {
	only  string
	plain bool
	keep  bool
}

func main() {
	var o options
	flag.StringVar(&o.only, "only", "all", "the mutants, with commas")
	flag.BoolVar(&o.plain, "plain", true, "play the same faults on Nova itself")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder with the histories")
	flag.Parse()
	good, err := o.run(context.Background(), os.Stdout)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

// run builds and plays everything, and says whether all came as declared.
func (o options) run(ctx context.Context, out io.Writer) (good bool, err error) {
	chosen, err := choose(o.only)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "nova-mutants-")
	if err != nil {
		return false, err
	}
	// PostgreSQL has its folder there too, and a user of its own.
	if err := os.Chmod(dir, 0o755); err != nil {
		return false, err
	}
	if o.keep {
		_, _ = fmt.Fprintln(os.Stderr, "mutants: histories and logs are in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	b := bench{dir: dir, campaign: filepath.Join(dir, "campaign")}
	if err := build(ctx, b.campaign, "./test/campaign"); err != nil {
		return false, err
	}
	results := make([]result, 0, len(chosen))
	if o.plain {
		plain, err := b.unchanged(ctx, chosen)
		results = append(results, plain...)
		if err != nil {
			return false, err
		}
	}
	for _, m := range chosen {
		r := b.play(ctx, m)
		_, _ = fmt.Fprintln(os.Stderr, "mutants:", r)
		results = append(results, r)
	}
	return report(out, results)
}

// report prints the table and says whether all came as declared.
func report(out io.Writer, results []result) (good bool, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "mutant\tfault\tseed\tnamed\ts\t")
	good = true
	for _, r := range results {
		verdict := "as it must be"
		if !r.good() {
			good, verdict = false, "NOT AS IT MUST BE: wanted "+r.wanted()
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%.0f\t%s\n", r.tag, r.fault, r.seed, r.said(), r.seconds, verdict)
	}
	return good, w.Flush()
}
