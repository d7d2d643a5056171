package history

import (
	"fmt"
	"io"
	"strings"
)

// Report is what came of one run's history.
type Report struct {
	Run      string    `json:"run"`
	Files    []string  `json:"files"`
	Lines    int       `json:"lines"`
	Verdicts []Verdict `json:"verdicts"`
}

// Report judges the history, as [History.Check] does.
func (h *History) Report(limit int, only ...string) Report {
	r := Report{Run: h.Run, Lines: h.Lines, Verdicts: h.Check(limit, only...)}
	for _, f := range h.files {
		r.Files = append(r.Files, f.name)
	}
	return r
}

// Broken names the invariants that are broken.
func (r Report) Broken() (names []string) {
	for _, v := range r.Verdicts {
		if v.Broken > 0 {
			names = append(names, v.Invariant)
		}
	}
	return names
}

// Undecided names the invariants of which there is no verdict.
func (r Report) Undecided() (names []string) {
	for _, v := range r.Verdicts {
		if !v.Decided() {
			names = append(names, v.Invariant)
		}
	}
	return names
}

// Print writes the report for people, and names what is broken in its last line.
func (r Report) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s: %d lines of %s\n", r.Run, r.Lines, strings.Join(r.Files, ", "))
	for _, v := range r.Verdicts {
		v.print(&b)
	}
	if names := r.Undecided(); len(names) > 0 {
		fmt.Fprintf(&b, "not judged: %s\n", strings.Join(names, ", "))
	}
	if names := r.Broken(); len(names) > 0 {
		fmt.Fprintf(&b, "BROKEN: %s\n", strings.Join(names, ", "))
	} else if len(r.Undecided()) < len(r.Verdicts) {
		b.WriteString("all that was judged holds\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (v Verdict) print(b *strings.Builder) {
	state := "holds"
	switch {
	case v.Broken > 0:
		state = "BROKEN"
	case !v.Holds():
		state = "not judged"
	}
	fmt.Fprintf(b, "  %-4s %-10s %10d judged", v.Invariant, state, v.Judged)
	if v.Broken > 0 {
		fmt.Fprintf(b, ", %d broken", v.Broken)
	}
	if v.Undecided > 0 {
		fmt.Fprintf(b, ", %d watched too short", v.Undecided)
	}
	fmt.Fprintf(b, "  %s\n", v.Promise)
	for _, e := range v.Evidence {
		fmt.Fprintf(b, "         %s (%s)\n", e.What, strings.Join(e.Lines, " "))
	}
	if more := v.Broken - int64(len(v.Evidence)); more > 0 && len(v.Evidence) > 0 {
		fmt.Fprintf(b, "         and %d more\n", more)
	}
}

// ParseNames reads a list of invariants: I5, 5 or I1-I13. It refuses a name
// that this package does not judge; in a range it leaves out those.
func ParseNames(list []string) ([]string, error) {
	var names []string
	for _, item := range list {
		from, to, isRange := strings.Cut(item, "-")
		a, err := number(from)
		if err != nil {
			return nil, err
		}
		b := a
		if isRange {
			if b, err = number(to); err != nil {
				return nil, err
			}
		}
		n := len(names)
		for _, name := range Names() {
			if at, _ := number(name); at >= a && at <= b {
				names = append(names, name)
			}
		}
		if len(names) == n {
			return nil, fmt.Errorf("no invariant %s: there are %s", item, strings.Join(Names(), ", "))
		}
	}
	return names, nil
}

func number(name string) (n int, err error) {
	digits := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(name)), "I")
	for _, c := range digits {
		if c < '0' || c > '9' || n > 99 {
			n = 0
			break
		}
		n = 10*n + int(c-'0')
	}
	if n == 0 {
		return 0, fmt.Errorf("%q is no invariant: write I5, or I1-I13", name)
	}
	return n, nil
}
