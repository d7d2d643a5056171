package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nova-chat/nova/internal/history"
	"github.com/nova-chat/nova/internal/load"
)

// chapter is what came of one class.
type chapter struct {
	Name   string   `json:"fault"`
	Cycles int      `json:"cycles"`
	Files  []string `json:"files"`

	Strokes []strokeResult `json:"strokes"`
	Acked   int            `json:"acked"`        // over the whole chapter
	During  int            `json:"acked_during"` // while a fault was in force
	Unknown int            `json:"unknown"`      // tries around faults of which nobody can tell

	Lost       int64 `json:"lost"`
	Duplicates int64 `json:"duplicates"`
	Misordered int64 `json:"misordered"`

	Agreement Spread  `json:"readiness_agreement_ms"`
	Recovery  Spread  `json:"recovery_ms"`
	Drain     Spread  `json:"outbox_drain_ms"`
	Answers   *Spread `json:"answers_without_database_ms,omitempty"`
	Tail      *Spread `json:"delivery_without_redis_ms,omitempty"`

	Broken    []string `json:"broken,omitempty"` // invariants and figures
	Why       []string `json:"why,omitempty"`
	NotJudged []string `json:"not_judged,omitempty"` // of what must be

	Load   load.Result    `json:"load"`
	Report history.Report `json:"history"`
}

// strokeResult is what was done once.
type strokeResult struct {
	Text         string `json:"text"`
	Milliseconds int64  `json:"ms"`                     // in force
	Agreement    int64  `json:"readiness_agreement_ms"` // the later one
	Drain        int64  `json:"outbox_drain_ms"`
}

// Spread is how a figure is distributed.
type Spread struct {
	Count int   `json:"count"`
	P50   int64 `json:"p50"`
	P99   int64 `json:"p99"`
	Max   int64 `json:"max"`
}

func spread(all []time.Duration) Spread {
	return Spread{len(all), quantile(all, 0.5).Milliseconds(), quantile(all, 0.99).Milliseconds(), quantile(all, 1).Milliseconds()}
}

// bad notes what is broken, and why.
func (c *chapter) bad(what, format string, args ...any) {
	if !slices.Contains(c.Broken, what) {
		c.Broken = append(c.Broken, what)
	}
	c.Why = append(c.Why, fmt.Sprintf(format, args...))
}

// judged takes the verdicts over; what must be judged and is not is named.
func (c *chapter) judged(must []string) {
	for _, v := range c.Report.Verdicts {
		if v.Broken > 0 {
			c.bad(v.Invariant, "%s, %d times: %s", v.Invariant, v.Broken, v.Promise)
			for _, e := range v.Evidence {
				c.Why = append(c.Why, fmt.Sprintf("  %s (%s)", e.What, strings.Join(e.Lines, " ")))
			}
		}
		if !v.Decided() && slices.Contains(must, v.Invariant) {
			c.NotJudged = append(c.NotJudged, v.Invariant)
		}
		switch v.Invariant {
		case "I1", "I9":
			c.Lost += v.Broken
		case "I3":
			c.Duplicates += v.Broken
		case "I4", "I5", "I6", "I8":
			c.Misordered += v.Broken
		}
	}
}

// check has the files judged.
func (c *chapter) check(ctx context.Context, must []string) error {
	var sources []history.Source
	for _, name := range c.Files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		sources = append(sources, history.Source{Name: filepath.Base(name), Reader: f})
	}
	all, err := history.Read(ctx, sources...)
	if err != nil {
		return err
	}
	const evidence = 3 // violations of each invariant
	c.Report = all[0].Report(evidence)
	c.judged(must)
	return nil
}

// String is one line while the campaign runs.
func (c chapter) String() string {
	verdict := "ok"
	switch {
	case len(c.Broken) > 0:
		verdict = "BROKEN: " + strings.Join(c.Broken, ", ") + "\n    " + strings.Join(c.Why, "\n    ")
	case len(c.NotJudged) > 0:
		verdict = "not judged: " + strings.Join(c.NotJudged, ", ")
	}
	return fmt.Sprintf("%s, %d cycles, %d acked, %d of them during faults: %s", c.Name, c.Cycles, c.Acked, c.During, verdict)
}

// outcome is the result of all classes.
type outcome struct {
	Seed     uint64    `json:"seed"`
	Cycles   int       `json:"cycles"`
	Rate     float64   `json:"rate"`
	Again    string    `json:"again"`
	Dir      string    `json:"dir"`
	Kept     bool      `json:"kept"`
	Seconds  float64   `json:"seconds"`
	Chapters []chapter `json:"faults"`
}

// broken names what is broken in any class.
func (o *outcome) broken() (names []string) {
	for _, c := range o.Chapters {
		names = append(names, c.Broken...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// code is the exit code.
func (o *outcome) code() int {
	if len(o.broken()) > 0 {
		return exitBroken
	}
	if len(o.Chapters) == 0 || slices.ContainsFunc(o.Chapters, func(c chapter) bool { return len(c.NotJudged) > 0 }) {
		return exitUnable
	}
	return 0
}

// bound is the rate of failures that n cycles without one allow, with a
// confidence of 95 %.
func bound(n int) float64 { return min(1, 3/float64(n)) }

// report prints the table and writes the JSON. The last line names what is
// broken.
func (o *outcome) report(to io.Writer, file string) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "fault\tcycles\tacked\tduring\tlost\tduplicates\tmisordered\tunknown\tready p50\tmax ms\trecovery p50\tp99\tmax ms\toutbox p50\tmax s\tbound\t  verdict")
	for _, c := range o.Chapters {
		verdict := "ok"
		if len(c.Broken) > 0 {
			verdict = strings.Join(c.Broken, " ")
		} else if len(c.NotJudged) > 0 {
			verdict = "not judged: " + strings.Join(c.NotJudged, " ")
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%.0f %%\t  %s\n", c.Name, c.Cycles, c.Acked, c.During,
			c.Lost, c.Duplicates, c.Misordered, c.Unknown, c.Agreement.P50, c.Agreement.Max, c.Recovery.P50, c.Recovery.P99, c.Recovery.Max,
			float64(c.Drain.P50)/1000, float64(c.Drain.Max)/1000, 100*bound(c.Cycles), verdict)
	}
	err := w.Flush()
	for _, c := range o.Chapters {
		if c.Answers != nil {
			_, _ = fmt.Fprintf(to, "%s: %d sends without the database answered, p50 %d p99 %d max %d ms\n", c.Name, c.Answers.Count, c.Answers.P50, c.Answers.P99, c.Answers.Max)
		}
		if c.Tail != nil {
			_, _ = fmt.Fprintf(to, "%s: %d deliveries to the other node without Redis, p50 %d p99 %d max %d ms\n", c.Name, c.Tail.Count, c.Tail.P50, c.Tail.P99, c.Tail.Max)
		}
	}
	for _, c := range o.Chapters {
		for _, why := range c.Why {
			_, _ = fmt.Fprintf(to, "%s: %s\n", c.Name, why)
		}
	}
	if file != "" {
		err = errors.Join(err, writeJSON(file, o))
	}
	o.last(to)
	return err
}

// last says how it went, in one line.
func (o *outcome) last(to io.Writer) {
	_, _ = fmt.Fprintf(to, "%.0f s, -seed %d\n", o.Seconds, o.Seed)
	if o.code() != 0 {
		_, _ = fmt.Fprintf(to, "histories and logs: %s\nagain: %s\n", o.Dir, o.Again)
	}
	switch o.code() {
	case exitBroken:
		_, _ = fmt.Fprintf(to, "BROKEN: %s\n", strings.Join(o.broken(), ", "))
	case exitUnable:
		_, _ = fmt.Fprintln(to, "not everything that must be judged was")
	default:
		_, _ = fmt.Fprintln(to, "every invariant and figure holds")
	}
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
