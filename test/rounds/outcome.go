package main

import (
	"fmt"
	"os"
	"syscall"
	"text/tabwriter"

	"github.com/nova-chat/nova/internal/load"
	"github.com/nova-chat/nova/test/process"
)

// round is one end of a process.
type round struct {
	Name    string          `json:"round"`
	Process string          `json:"process"`
	Signal  string          `json:"signal"`
	After   int64           `json:"after_ms"` // under load
	Acked   int64           `json:"acked"`    // over all rounds so far, to the last full second
	Code    int             `json:"exit_code"`
	Down    int64           `json:"down_ms"`          // from the signal to the next ready
	Ledger  *process.Ledger `json:"ledger,omitempty"` // none after SIGKILL
	Verdict string          `json:"verdict"`          // "ok", or what is wrong
}

// judged makes a round of how the process ended.
func judged(name, who string, e process.Ended) round {
	r := round{Name: name, Process: who, Signal: "SIGKILL", Code: e.Code, Verdict: "ok"}
	if e.Signal == syscall.SIGKILL {
		return r
	}
	r.Signal = "SIGTERM"
	r.Ledger = e.Ledger()
	outbox, goroutines := false, false
	if r.Ledger != nil {
		outbox, goroutines = r.Ledger.Settled()
	}
	switch {
	case e.Hung:
		r.Verdict = fmt.Sprintf("it did not end within %s", process.EndWithin)
	case e.Code != 0:
		r.Verdict = "the exit code is not 0"
	case r.Ledger == nil:
		r.Verdict = "the last line is not the ledger"
	case !r.Ledger.Balanced():
		r.Verdict = "the ledger is not balanced"
	case !outbox:
		r.Verdict = "the outbox was not emptied"
	case !goroutines:
		r.Verdict = "goroutines were left"
	}
	return r
}

// String is one line while the rounds run.
func (r round) String() string {
	return fmt.Sprintf("round %s, %s to %s after %d ms: %s, ready again after %d ms", r.Name, r.Signal, r.Process, r.After, r.Verdict, r.Down)
}

// outcome is the result of all rounds.
type outcome struct {
	Deployment string         `json:"deployment"`
	Seed       uint64         `json:"seed"`
	Senders    int            `json:"senders"`
	Seconds    float64        `json:"seconds"`
	Good       bool           `json:"good"`
	Bad        []string       `json:"bad,omitempty"`
	Rounds     []round        `json:"rounds"`
	Errors     map[string]int `json:"error_lines,omitempty"` // of all processes' logs
	Result     load.Result    `json:"load"`
}

// answerWithin is how long, in milliseconds, a client must repeat a message at most
// while nodes end one after the other in order.
const answerWithin = 10_000

// judge says what is wrong.
func (o *outcome) judge() {
	for _, r := range o.Rounds {
		if r.Verdict != "ok" {
			o.Bad = append(o.Bad, fmt.Sprintf("round %s (%s to %s): %s", r.Name, r.Signal, r.Process, r.Verdict))
		}
	}
	o.Bad = append(o.Bad, o.Result.Verdict()...)
	l := o.Result.Ledger
	if !l.Verified || l.Acked == 0 || l.Delivered == 0 {
		o.Bad = append(o.Bad, "nothing was acknowledged, delivered and compared with the log")
	}
	if slowest := o.Result.Ack.Max; o.Deployment == rolling && slowest > answerWithin {
		o.Bad = append(o.Bad, fmt.Sprintf("a message was answered after %.0f ms; by repeating it, it should be within %d", slowest, answerWithin))
	}
	o.Good = len(o.Bad) == 0
}

// report prints the table and writes the JSON.
func (o *outcome) report(file string) (good bool, err error) {
	o.judge()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "round\tprocess\tsignal\tafter ms\tacked so far\texit\taccepted\tcommitted\trejected\tunknown\toutbox left\tdrain ms\tdown ms\t  verdict")
	for _, r := range o.Rounds {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%d\t  %s\n", r.Name, r.Process, r.Signal, r.After, r.Acked, r.Code, cells(r.Ledger), r.Down, r.Verdict)
	}
	if err := w.Flush(); err != nil {
		return false, err
	}
	_, _ = fmt.Fprintf(os.Stdout, "\n%s", o.Result)
	for text, n := range o.Errors {
		_, _ = fmt.Fprintf(os.Stdout, "  the log has %d errors: %s\n", n, text)
	}
	for _, sentence := range o.Bad {
		_, _ = fmt.Fprintln(os.Stdout, "BAD:", sentence)
	}
	l := o.Result.Ledger
	_, _ = fmt.Fprintf(os.Stdout, "%d ends in %.0f s, -deployment %s -seed %d: lost %d, duplicates %d, misordered %d\n", len(o.Rounds), o.Seconds, o.Deployment, o.Seed, l.Lost, l.Duplicates, l.Misordered)
	if file != "" {
		err = writeJSON(file, o)
	}
	return o.Good, err
}

// cells are the ledger's part of the table.
func cells(l *process.Ledger) string {
	if l == nil || l.OutboxLeft == nil {
		return "\t\t\t\t\t"
	}
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d", l.Accepted, l.Committed, l.Rejected, l.Unknown, *l.OutboxLeft, l.Duration)
}
