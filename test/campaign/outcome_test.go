package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/history"
	"github.com/nova-chat/nova/test/process"
)

const header = `{"op":"history","version":1,"run":"R"}` + "\n"

func TestSendsWithoutTheDatabaseAreJudged(t *testing.T) {
	const open = header + `{"op":"conv","conv":"K","base":0}
{"op":"open","dev":"a","sock":"s1","node":"n1","t":1}
{"op":"open","dev":"b","sock":"s2","node":"n2","t":1}
`
	w := window{stroke: stroke{away: []string{"n1"}}, begin: 9e9, from: 10e9, to: 15e9, healed: 16e9}
	for name, c := range map[string]struct {
		lines string
		want  refusals
	}{
		"refused in time, then sent": {`{"op":"send","sock":"s1","dev":"a","conv":"K","cmid":"m","t":11000000000}
{"op":"fail","sock":"s1","dev":"a","cmid":"m","kind":"indeterminate","reason":"unavailable","t":11200000000}
{"op":"send","sock":"s1","dev":"a","conv":"K","cmid":"m","again":true,"t":16500000000}
{"op":"ack","sock":"s1","dev":"a","cmid":"m","seq":1,"t":16600000000}
`, refusals{sends: 1}},
		"late": {`{"op":"send","sock":"s1","dev":"a","conv":"K","cmid":"m","t":11000000000}
{"op":"fail","sock":"s1","dev":"a","cmid":"m","kind":"indeterminate","reason":"unavailable","t":12200000000}
{"op":"ack","sock":"s1","dev":"a","cmid":"m","seq":1,"t":16600000000}
`, refusals{sends: 1, late: 1}},
		"no answer": {`{"op":"send","sock":"s1","dev":"a","conv":"K","cmid":"m","t":11000000000}
`, refusals{sends: 1, late: 1, undone: 1}},
		"sent": {`{"op":"send","sock":"s1","dev":"a","conv":"K","cmid":"m","t":11000000000}
{"op":"ack","sock":"s1","dev":"a","cmid":"m","seq":1,"t":11100000000}
`, refusals{sends: 1, false: 1}},
		"the repeat fails for too long": {`{"op":"send","sock":"s1","dev":"a","conv":"K","cmid":"m","t":11000000000}
{"op":"fail","sock":"s1","dev":"a","cmid":"m","kind":"indeterminate","reason":"unavailable","t":11200000000}
{"op":"ack","sock":"s1","dev":"a","cmid":"m","seq":1,"t":27600000000}
`, refusals{sends: 1, undone: 1}},
		"the other node has a database": {`{"op":"send","sock":"s2","dev":"b","conv":"K","cmid":"m","t":11000000000}
{"op":"ack","sock":"s2","dev":"b","cmid":"m","seq":1,"t":11100000000}
`, refusals{}},
		"the socket was lost": {`{"op":"send","sock":"s1","dev":"a","conv":"K","cmid":"m","t":11000000000}
{"op":"fail","sock":"s1","dev":"a","cmid":"m","kind":"indeterminate","reason":"socket_lost","t":11200000000}
{"op":"ack","sock":"s1","dev":"a","cmid":"m","seq":1,"t":16600000000}
`, refusals{sends: 1, lost: 1}},
	} {
		s, err := readSight(strings.NewReader(open + c.lines))
		if err != nil {
			t.Fatal(err)
		}
		r := s.refusals(w)
		r.took = nil
		if r.sends != c.want.sends || r.late != c.want.late || r.false != c.want.false || r.lost != c.want.lost || r.undone != c.want.undone {
			t.Errorf("%s: %+v, want %+v", name, r, c.want)
		}
	}
}

func TestCrossingsAreToTheOtherNode(t *testing.T) {
	s, err := readSight(strings.NewReader(header + `{"op":"open","dev":"a","sock":"s1","node":"n1","t":1}
{"op":"open","dev":"b","sock":"s2","node":"n2","t":1}
{"op":"open","dev":"c","sock":"s3","node":"n1","t":1}
{"op":"send","sock":"s1","dev":"a","conv":"K","cmid":"m","t":1000000000}
{"op":"ack","sock":"s1","dev":"a","cmid":"m","seq":4,"t":1100000000}
{"op":"recv","sock":"s2","dev":"b","conv":"K","seq":4,"cmid":"m","by":"a","src":"live","t":1600000000}
{"op":"recv","sock":"s3","dev":"c","conv":"K","seq":4,"cmid":"m","by":"a","src":"live","t":1150000000}
`))
	if err != nil {
		t.Fatal(err)
	}
	if all := s.crossings(0, 2*time.Second); len(all) != 1 || all[0] != 500*time.Millisecond {
		t.Errorf("crossings %v", all)
	}
	if s.at["a/m"] != (place{"K", 4}) || s.between(time.Second, 2*time.Second) != 1 || len(s.recoveries(time.Second)) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestTheExitCodeSaysWhatHappened(t *testing.T) {
	verdict := func(name string, judged, broken int64) history.Report {
		return history.Report{Verdicts: []history.Verdict{{Invariant: name, Judged: judged, Broken: broken}}}
	}
	for name, c := range map[string]struct {
		report history.Report
		figure string
		code   int
		last   string
	}{
		"holds":         {verdict("I1", 5, 0), "", 0, "every invariant and figure holds"},
		"broken":        {verdict("I1", 5, 1), "", exitBroken, "BROKEN: I1"},
		"both":          {verdict("I1", 5, 1), figureOutbox, exitBroken, "BROKEN: I1, outbox"},
		"a figure":      {verdict("I1", 5, 0), figureReadiness, exitBroken, "BROKEN: readiness"},
		"not judged":    {verdict("I1", 0, 0), "", exitUnable, "not everything that must be judged was"},
		"nobody needed": {verdict("I15", 0, 0), "", 0, "every invariant and figure holds"},
	} {
		one := chapter{Name: "x", Cycles: 20, Report: c.report}
		one.judged([]string{"I1"})
		if c.figure != "" {
			one.bad(c.figure, "why")
		}
		o := outcome{Chapters: []chapter{one}, Again: "repeat me"}
		var b strings.Builder
		if err := o.report(&b, ""); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if o.code() != c.code || lines[len(lines)-1] != c.last || strings.Contains(b.String(), "repeat me") != (c.code != 0) {
			t.Errorf("%s: code %d, %s", name, o.code(), b.String())
		}
	}
	if nothing := (outcome{}); nothing.code() != exitUnable {
		t.Error("nothing was played, and all is well")
	}
}

func TestBound(t *testing.T) {
	if bound(1) != 1 || bound(20) != 0.15 || bound(300) != 0.01 {
		t.Error(bound(1), bound(20), bound(300))
	}
}

// TestAnEndWithoutALedgerBreaksI17: whatever a process says last.
func TestAnEndWithoutALedgerBreaksI17(t *testing.T) {
	const ledger = `{"msg":"shutdown ledger","accepted":3,"committed":2,"rejected":1,"unknown":0,"acknowledged":2,"outbox_left":0,"goroutines_left":0,"duration_ms":5}`
	for name, c := range map[string]struct {
		end    process.Ended
		broken bool
	}{
		"in order":  {process.Ended{Last: ledger}, false},
		"no ledger": {process.Ended{Last: "panic: x"}, true},
		"hung":      {process.Ended{Hung: true, Code: -1}, true},
		"exit code": {process.Ended{Code: 1, Last: ledger}, true},
	} {
		file := t.TempDir() + "/own"
		j, err := newJournal(file, "R", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		j.shutdown("n1", c.end)
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		one := chapter{Files: []string{file}}
		if err := one.check(t.Context(), []string{"I17"}); err != nil {
			t.Fatal(err)
		}
		if (len(one.Broken) > 0) != c.broken || len(one.NotJudged) > 0 {
			t.Errorf("%s: broken %v, not judged %v", name, one.Broken, one.NotJudged)
		}
	}
}

func TestDepthIsSummed(t *testing.T) {
	depth := map[string]int64{}
	readDepth([]byte("# HELP x\noutbox_unpublished_events{service=\"auth\"} 2\noutbox_unpublished_events{service=\"messaging\"} 0\nother 7\n"), depth)
	readDepth([]byte("outbox_unpublished_events{service=\"auth\"} 3\n"), depth)
	if len(depth) != 2 || depth["auth"] != 5 || depth["messaging"] != 0 {
		t.Errorf("%v", depth)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []options{
		{nova: "x", faults: "storm", cycles: 1, rate: 1}, {nova: "x", faults: "all", rate: 1}, {nova: "x", faults: "all", cycles: 1},
	} {
		if _, err := o.run(t.Context(), io.Discard); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
