package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/nova-chat/nova/internal/history"
)

type checkHistoryCommand struct {
	Files    []string `arg:"" name:"file" help:"Files of histories, as nova load --history writes them; files of one run are one history."`
	Only     []string `help:"Invariants to judge, such as I5 or I1-I13; exit 2 if one of them could not be judged." placeholder:"I,I" env:"NOVA_ONLY"`
	Evidence int      `help:"How many violations of each invariant are shown." default:"5" placeholder:"N" env:"NOVA_EVIDENCE"`
	JSON     string   `help:"Write the report to this file; - is standard output." placeholder:"FILE" env:"NOVA_JSON"`
}

// exitUndecided says that something could not be judged.
const exitUndecided = 2

// Run judges histories. Exit code 1 says that an invariant is broken and
// nothing else, 2 that nothing could be judged, that something which --only
// named could not, or that a file cannot be read.
func (c *checkHistoryCommand) Run(ctx context.Context, std streams) error {
	only, err := history.ParseNames(c.Only)
	if err != nil {
		_, _ = fmt.Fprintf(std.err, "nova: --only: %v\n", err)
		return exitCode(exitUsage)
	}
	reports, err := c.judge(ctx, only)
	if err == nil {
		err = c.tell(std, reports)
	}
	if err != nil {
		_, _ = fmt.Fprintf(std.err, "nova: %v\n", err)
		return exitCode(exitUndecided)
	}
	if code := verdict(reports, len(only) > 0); code != 0 {
		return exitCode(code)
	}
	return nil
}

// tell prints the reports, and writes them for programs.
func (c *checkHistoryCommand) tell(std streams, reports []history.Report) error {
	people := std.out
	if c.JSON == "-" {
		people = std.err
	}
	for _, r := range reports {
		if err := r.Print(people); err != nil {
			return err
		}
	}
	return c.write(std, reports)
}

func (c *checkHistoryCommand) judge(ctx context.Context, only []string) ([]history.Report, error) {
	var sources []history.Source
	for _, name := range c.Files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		sources = append(sources, history.Source{Name: name, Reader: f})
	}
	all, err := history.Read(ctx, sources...)
	if err != nil {
		return nil, err
	}
	var reports []history.Report
	for _, h := range all {
		reports = append(reports, h.Report(max(c.Evidence, 0), only...))
	}
	return reports, nil
}

// verdict is the exit code: what is broken weighs most.
func verdict(reports []history.Report, named bool) int {
	if slices.ContainsFunc(reports, func(r history.Report) bool { return len(r.Broken()) > 0 }) {
		return exitFailed
	}
	for _, r := range reports {
		if open := len(r.Undecided()); open == len(r.Verdicts) || named && open > 0 {
			return exitUndecided
		}
	}
	return 0
}

func (c *checkHistoryCommand) write(std streams, reports []history.Report) error {
	switch c.JSON {
	case "":
		return nil
	case "-":
		return printJSON(std.out, reports)
	}
	f, err := os.Create(c.JSON)
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return errors.Join(printJSON(f, reports), f.Close())
}
