package main

import (
	"syscall"
	"testing"

	"github.com/nova-chat/nova/internal/load"
	"github.com/nova-chat/nova/test/process"
)

func TestAnEndIsJudgedByExitCodeAndLedger(t *testing.T) {
	line := func(rest string) string {
		return `{"level":"INFO","msg":"shutdown ledger","duration_ms":5,` + rest + `}`
	}
	const balanced = `"accepted":6,"committed":3,"rejected":2,"unknown":1`
	for name, one := range map[string]struct {
		end     process.Ended
		verdict string
	}{
		"in order":          {process.Ended{Signal: syscall.SIGTERM, Last: line(balanced + `,"outbox_left":0,"goroutines_left":0`)}, "ok"},
		"by force":          {process.Ended{Signal: syscall.SIGKILL, Code: -1}, "ok"},
		"exit code":         {process.Ended{Signal: syscall.SIGTERM, Code: 1, Last: line(balanced + `,"outbox_left":0,"goroutines_left":0`)}, "the exit code is not 0"},
		"hung":              {process.Ended{Signal: syscall.SIGTERM, Hung: true, Code: -1}, "it did not end within 40s"},
		"no ledger":         {process.Ended{Signal: syscall.SIGTERM, Last: `{"msg":"caught a panic"}`}, "the last line is not the ledger"},
		"no JSON":           {process.Ended{Signal: syscall.SIGTERM, Last: "goroutine 1 [running]:"}, "the last line is not the ledger"},
		"nothing":           {process.Ended{Signal: syscall.SIGTERM}, "the last line is not the ledger"},
		"not balanced":      {process.Ended{Signal: syscall.SIGTERM, Last: line(`"accepted":7,"committed":3,"rejected":2,"unknown":1,"outbox_left":0,"goroutines_left":0`)}, "the ledger is not balanced"},
		"outbox":            {process.Ended{Signal: syscall.SIGTERM, Last: line(balanced + `,"outbox_left":1,"goroutines_left":0`)}, "the outbox was not emptied"},
		"outbox not said":   {process.Ended{Signal: syscall.SIGTERM, Last: line(balanced + `,"goroutines_left":0`)}, "the outbox was not emptied"},
		"goroutines":        {process.Ended{Signal: syscall.SIGTERM, Last: line(balanced + `,"outbox_left":0,"goroutines_left":2`)}, "goroutines were left"},
		"goroutines silent": {process.Ended{Signal: syscall.SIGTERM, Last: line(balanced + `,"outbox_left":0`)}, "goroutines were left"},
	} {
		if r := judged("1", "all", one.end); r.Verdict != one.verdict {
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
		"late":         func(o *outcome) { o.Deployment, o.Result.Ack.Max = rolling, answerWithin+1 },
	} {
		o := sound()
		spoil(&o)
		if o.judge(); o.Good != (name == "") || o.Good != (len(o.Bad) == 0) {
			t.Errorf("%q: good %v, bad %q", name, o.Good, o.Bad)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []options{{}, {term: 1, senders: 3, seconds: 1}, {kill: 1, senders: 2}, {term: -1, kill: 2, senders: 2, seconds: 1}, {deployment: "moon", term: 1, senders: 2, seconds: 1}} {
		if _, err := o.run(t.Context()); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	missing := options{nova: "/nonexistent/nova", deployment: onSQLite, term: 1, senders: 2, seconds: 1}
	if good, err := missing.run(t.Context()); good || err == nil {
		t.Errorf("good %v, error %v", good, err)
	}
}
