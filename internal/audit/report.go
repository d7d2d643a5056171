package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Verdict is what a check or a fact comes to.
type Verdict string

// The verdicts. A note is evidence that is not judged by itself.
const (
	Holds     Verdict = "holds"
	Broken    Verdict = "broken"
	NotJudged Verdict = "not judged"
	Note      Verdict = "note"
)

// Report is the result of an audit.
type Report struct {
	Public  string        `json:"public"`
	Admin   string        `json:"admin"`   // several with commas
	Version string        `json:"version"` // of the target, "" if it does not say
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	Only    []int         `json:"only,omitempty"`
	Checks  []Check       `json:"checks"`
}

// Check is the judgement of one promise.
type Check struct {
	Promise int           `json:"promise"`
	Name    string        `json:"name"`
	Verdict Verdict       `json:"verdict"`
	Took    time.Duration `json:"took_ns"`
	Facts   []Fact        `json:"facts"` // the receipts, in the order in which they were taken
}

// Fact is one receipt: what was looked at, and what came of it.
type Fact struct {
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// fact records something that was judged, and gives ok back.
func (c *Check) fact(ok bool, format string, args ...any) bool {
	v := Holds
	if !ok {
		v = Broken
	}
	c.add(v, format, args...)
	return ok
}

func (c *Check) note(format string, args ...any) { c.add(Note, format, args...) }

func (c *Check) notJudged(format string, args ...any) { c.add(NotJudged, format, args...) }

func (c *Check) add(v Verdict, format string, args ...any) {
	c.Facts = append(c.Facts, Fact{v, fmt.Sprintf(format, args...)})
}

// equal records the comparison of a value with what it must be.
func equal[T comparable](c *Check, what string, got, want T) bool {
	if got == want {
		return c.fact(true, "%s: %v", what, got)
	}
	return c.fact(false, "%s: %v, and it must be %v", what, got, want)
}

// settle decides the verdict: one broken fact breaks it, and without any judged
// fact there is none.
func (c *Check) settle() {
	c.Verdict = NotJudged
	for _, f := range c.Facts {
		switch f.Verdict {
		case Broken:
			c.Verdict = Broken
			return
		case Holds:
			c.Verdict = Holds
		default: // says nothing
		}
	}
}

// cannotError ends a check without a verdict.
type cannotError struct{ because string }

func (e *cannotError) Error() string { return e.because }

func cannot(format string, args ...any) error {
	return &cannotError{fmt.Sprintf(format, args...)}
}

// end takes the error with which a check stopped.
func (c *Check) end(err error) {
	if why, ok := errors.AsType[*cannotError](err); ok {
		c.notJudged("%s", why.because)
	} else if err != nil {
		c.fact(false, "the check stopped: %v", err)
	}
	c.settle()
}

func (r Report) count(v Verdict) (n int) {
	for _, c := range r.Checks {
		if c.Verdict == v {
			n++
		}
	}
	return n
}

// Judged says whether there is a verdict on any promise.
func (r Report) Judged() bool { return r.count(Holds)+r.count(Broken) > 0 }

// ExitCode is 0 if all that was judged holds, 1 if something is broken, 2 if
// nothing was judged or something that Options.Only named was not.
func (r Report) ExitCode() int {
	switch {
	case r.count(Broken) > 0:
		return 1
	case !r.Judged():
		return 2
	}
	for _, c := range r.Checks {
		if c.Verdict == NotJudged && slices.Contains(r.Only, c.Promise) {
			return 2
		}
	}
	return 0
}

// Summary is the result in one sentence.
func (r Report) Summary() string {
	if !r.Judged() {
		return "NOTHING WAS JUDGED: this says nothing about the deployment, neither good nor bad."
	}
	return fmt.Sprintf("%d held, %d broken, %d not judged, in %s", r.count(Holds), r.count(Broken), r.count(NotJudged), r.Took.Round(100*time.Millisecond))
}

// Print writes the table, then the receipts of every check.
func (r Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "promise\t\tverdict\tevidence")
	for _, c := range r.Checks {
		_, _ = fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", c.Promise, c.Name, strings.ToUpper(string(c.Verdict)), c.evidence())
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	for _, c := range r.Checks {
		if _, err := fmt.Fprintf(w, "\n%d %s, %s\n%s", c.Promise, c.Name, c.Took.Round(10*time.Millisecond), c.receipts()); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.Summary())
	return err
}

// evidence is the cell of the table: how much was judged, or what decided.
func (c *Check) evidence() string {
	held, left := 0, 0
	for _, f := range c.Facts {
		switch {
		case f.Verdict == Broken || c.Verdict == NotJudged && f.Verdict == NotJudged:
			return f.Text
		case f.Verdict == Holds:
			held++
		case f.Verdict == NotJudged:
			left++
		}
	}
	if left > 0 {
		return fmt.Sprintf("%d facts hold, %d not judged", held, left)
	}
	return fmt.Sprintf("%d facts hold", held)
}

var marks = map[Verdict]string{Holds: "ok     ", Broken: "BROKEN ", NotJudged: "-      ", Note: "       "}

func (c *Check) receipts() string {
	var b strings.Builder
	for _, f := range c.Facts {
		_, _ = fmt.Fprintf(&b, "  %s%s\n", marks[f.Verdict], f.Text)
	}
	return b.String()
}

// WriteJSON writes everything, receipts included.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
