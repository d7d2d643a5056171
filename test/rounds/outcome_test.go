package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/nova-chat/nova/internal/load"
)

func TestAnEndIsJudgedByExitCodeAndLedger(t *testing.T) {
	line := func(rest string) string {
		return `{"level":"INFO","msg":"shutdown ledger","duration_ms":5,` + rest + `}`
	}
	const balanced = `"accepted":6,"committed":3,"rejected":2,"unknown":1`
	for name, one := range map[string]struct {
		end     ended
		verdict string
	}{
		"in order":          {ended{signal: syscall.SIGTERM, last: line(balanced + `,"outbox_left":0,"goroutines_left":0`)}, "ok"},
		"by force":          {ended{signal: syscall.SIGKILL, code: -1}, "ok"},
		"exit code":         {ended{signal: syscall.SIGTERM, code: 1, last: line(balanced + `,"outbox_left":0,"goroutines_left":0`)}, "the exit code is not 0"},
		"hung":              {ended{signal: syscall.SIGTERM, hung: true, code: -1}, "it did not end within 40s"},
		"no ledger":         {ended{signal: syscall.SIGTERM, last: `{"msg":"caught a panic"}`}, "the last line is not the ledger"},
		"no JSON":           {ended{signal: syscall.SIGTERM, last: "goroutine 1 [running]:"}, "the last line is not the ledger"},
		"nothing":           {ended{signal: syscall.SIGTERM}, "the last line is not the ledger"},
		"not balanced":      {ended{signal: syscall.SIGTERM, last: line(`"accepted":7,"committed":3,"rejected":2,"unknown":1,"outbox_left":0,"goroutines_left":0`)}, "the ledger is not balanced"},
		"outbox":            {ended{signal: syscall.SIGTERM, last: line(balanced + `,"outbox_left":1,"goroutines_left":0`)}, "the outbox was not emptied"},
		"outbox not said":   {ended{signal: syscall.SIGTERM, last: line(balanced + `,"goroutines_left":0`)}, "the outbox was not emptied"},
		"goroutines":        {ended{signal: syscall.SIGTERM, last: line(balanced + `,"outbox_left":0,"goroutines_left":2`)}, "goroutines were left"},
		"goroutines silent": {ended{signal: syscall.SIGTERM, last: line(balanced + `,"outbox_left":0`)}, "goroutines were left"},
	} {
		if r := judged("1", one.end); r.Verdict != one.verdict {
			t.Errorf("%s: %q, want %q", name, r.Verdict, one.verdict)
		}
	}
}

func TestTheOutcomeIsGoodOnlyOnEvidence(t *testing.T) {
	sound := func() outcome {
		o := outcome{Rounds: []round{{Verdict: "ok"}}}
		o.Result.Options.Reconnect = true
		o.Result.Ledger = load.Ledger{Sent: 5, Acked: 5, Stored: 5, Due: 5, Delivered: 5, Verified: true}
		return o
	}
	for name, spoil := range map[string]func(*outcome){
		"":             func(*outcome) {},
		"a bad round":  func(o *outcome) { o.Rounds[0].Verdict = "hung" },
		"lost":         func(o *outcome) { o.Result.Ledger.Lost = 1 },
		"duplicates":   func(o *outcome) { o.Result.Ledger.Duplicates = 1 },
		"misordered":   func(o *outcome) { o.Result.Ledger.Misordered = 1 },
		"never back":   func(o *outcome) { o.Result.Ledger.Unfetched = 1 },
		"not compared": func(o *outcome) { o.Result.Ledger.Verified = false },
		"no traffic":   func(o *outcome) { o.Result.Ledger.Acked = 0 },
	} {
		o := sound()
		spoil(&o)
		if o.judge(); o.Good != (name == "") || o.Good != (len(o.Bad) == 0) {
			t.Errorf("%q: good %v, bad %q", name, o.Good, o.Bad)
		}
	}
}

func TestLinesAreWholeLines(t *testing.T) {
	var seen []string
	l := &lines{each: func(s string) { seen = append(seen, s) }}
	for _, part := range []string{"on", "e\ntwo\nthr", "", "ee\nhalf"} {
		if n, err := l.Write([]byte(part)); err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	if strings.Join(seen, "|") != "one|two|three" || l.tail() != "three" || l.all() != "one\ntwo\nthree\n" {
		t.Errorf("%q, last %q", seen, l.tail())
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []options{{}, {term: 1, senders: 3, seconds: 1}, {kill: 1, senders: 2}, {term: -1, kill: 2, senders: 2, seconds: 1}} {
		if _, err := o.run(t.Context()); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	missing := options{nova: "/nonexistent/nova", term: 1, senders: 2, seconds: 1}
	if good, err := missing.run(t.Context()); good || err == nil {
		t.Errorf("good %v, error %v", good, err)
	}
}
