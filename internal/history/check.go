package history

import (
	"fmt"
	"slices"
)

// Verdict is what came of one invariant.
type Verdict struct {
	Invariant string     `json:"invariant"` // such as I5
	Promise   string     `json:"promise"`
	Judged    int64      `json:"judged"`    // instances
	Undecided int64      `json:"undecided"` // instances that the history ends too early for
	Broken    int64      `json:"broken"`
	Evidence  []Evidence `json:"evidence,omitempty"` // of the first few that are broken
}

// Evidence shows one violation.
type Evidence struct {
	What  string   `json:"what"`
	Lines []string `json:"lines"` // FILE:LINE
}

// Holds says whether the invariant was judged in full and is not broken.
func (v Verdict) Holds() bool { return v.Broken == 0 && v.Undecided == 0 && v.Judged > 0 }

// Decided says whether there is a verdict at all.
func (v Verdict) Decided() bool { return v.Broken > 0 || v.Holds() }

// invariants are judged one by one, in this order.
var invariants = []struct {
	name, promise string
	judge         func(*judge)
}{
	{"I1", "no loss: what was acknowledged is in every log, where the answer said", noLoss},
	{"I2", "no phantom: what is stored or received was sent, and not definitely refused", noPhantom},
	{"I3", "once: a message has one row in each log, and its answers agree", once},
	{"I4", "dense order: each log has every sequence once, from the first to the last", dense},
	{"I5", "real time: what was sent after an answer comes after it", realTime},
	{"I6", "first in, first out: a socket's sends to a conversation keep their order", fifo},
	{"I7", "agreement: one sequence is one message, whoever shows it", agreement},
	{"I8", "wire order: a socket's messages rise by one, none left out, none twice", wireOrder},
	{"I9", "completeness: every device has everything within 10 s, 99 of 100 within 3 s", complete},
	{"I10", "visibility: a message reaches members alone", visibility},
	{"I11", "read your writes: history has what was acknowledged before", readWrites},
	{"I12", "read marks never go back, and agree at the end", marksRise},
	{"I13", "events: every stored message is an event, in its order; the outbox is empty", eventsMatch},
	{"I15", "revocation: a session that was ended receives nothing any more", revoked},
	{"I16", "accounting: the counters say what the clients saw", accounts},
	{"I17", "shutdown: every ledger balances, and nothing is left", ledgers},
}

// Names are the names of the invariants that this package judges.
func Names() (list []string) {
	for _, i := range invariants {
		list = append(list, i.name)
	}
	return list
}

// judge collects the verdict on one invariant.
type judge struct {
	h     *History
	v     Verdict
	limit int // of evidence
}

func (j *judge) judged(n int) { j.v.Judged += int64(n) }

func (j *judge) undecided() { j.v.Undecided++ }

// broken notes a violation and the lines that show it; 0 stands for none.
func (j *judge) broken(lines []uint32, format string, args ...any) {
	j.v.Broken++
	if len(j.v.Evidence) >= j.limit {
		return
	}
	e := Evidence{What: fmt.Sprintf(format, args...)}
	for _, n := range lines {
		if n > 0 {
			e.Lines = append(e.Lines, j.h.at(n))
		}
	}
	j.v.Evidence = append(j.v.Evidence, e)
}

// Check judges the named invariants, all of them if there are none. Each
// verdict has the evidence of at most limit violations.
func (h *History) Check(limit int, only ...string) []Verdict {
	var verdicts []Verdict
	for _, i := range invariants {
		if len(only) > 0 && !slices.Contains(only, i.name) {
			continue
		}
		j := &judge{h: h, v: Verdict{Invariant: i.name, Promise: i.promise}, limit: limit}
		i.judge(j)
		verdicts = append(verdicts, j.v)
	}
	return verdicts
}
