package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/audit"
	"github.com/nova-chat/nova/internal/config"
)

// Everything in one run, under the default limits, and twice: the audit must
// fit into what an address may do, and not stumble over its own traces.
func TestASoundNodeHolds(t *testing.T) {
	n := startNode(t, func(c *config.Config) { c.Limits = config.Default().Limits })
	public, admin := n.urls()
	r, err := audit.Run(context.Background(), audit.Options{Public: public, Admins: []string{admin}, LogDir: n.cfg.LogDir, Series: catalogue, Requests: 2000})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		switch c.Promise {
		case 2, 5, 6, 9:
			want(t, c, audit.Holds)
		default: // 1 without a command, the others are not built yet
			want(t, c, audit.NotJudged)
		}
	}
	if r.ExitCode() != 0 || !r.Judged() {
		t.Errorf("exit code %d", r.ExitCode())
	}
}

// What is red with a defect must be green through the same proxy without one.
func TestTheProxyAloneChangesNothing(t *testing.T) {
	nothing := func() *defect { return &defect{toClient: func(f []byte) []byte { return f }} }
	together(t, map[string]scene{
		"2":          {promise: 2, defect: &defect{}, verdict: audit.Holds},
		"5":          {promise: 5, defect: &defect{}, verdict: audit.Holds},
		"6":          {promise: 6, defect: &defect{}, verdict: audit.Holds},
		"9":          {promise: 9, defect: &defect{}, verdict: audit.Holds},
		"5 by frame": {promise: 5, defect: nothing(), verdict: audit.Holds},
		"6 by frame": {promise: 6, defect: nothing(), verdict: audit.Holds},
	})
}

func TestNothingIsGreenByAbsence(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	r, err := audit.Run(context.Background(), audit.Options{Public: gone.URL, Admins: []string{gone.URL}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	if r.ExitCode() != 2 || r.Judged() || !strings.Contains(out.String(), "NOTHING WAS JUDGED") || strings.Contains(out.String(), "HOLDS") {
		t.Errorf("exit code %d\n%s", r.ExitCode(), out.String())
	}
}

func TestReport(t *testing.T) {
	n := startNode(t)
	public, admin := n.urls()
	r, err := audit.Run(context.Background(), audit.Options{Public: public, Admins: []string{admin}, Only: []int{1, 2, 3}, Requests: 100})
	if err != nil {
		t.Fatal(err)
	}
	if r.ExitCode() != 2 {
		t.Errorf("exit code %d: 1 and 3 were named and not judged", r.ExitCode())
	}
	var table, raw bytes.Buffer
	if err := errors.Join(r.Print(&table), r.WriteJSON(&raw)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"NOT JUDGED", "no --restart-cmd", "comes with a later version", "HOLDS", "no --prometheus", "1 held, 0 broken, 2 not judged"} {
		if !strings.Contains(table.String(), text) {
			t.Errorf("the table lacks %q:\n%s", text, table.String())
		}
	}
	var back audit.Report
	if err := json.Unmarshal(raw.Bytes(), &back); err != nil || len(back.Checks) != 3 || back.Checks[1].Verdict != audit.Holds {
		t.Errorf("JSON: %v %s", err, raw.Bytes())
	}
	for _, bad := range []audit.Options{{}, {Public: public}, {Public: public, Admins: []string{admin}, Only: []int{10}}, {Public: "nonsense", Admins: []string{admin}}, {Public: public, Admins: []string{admin}, LogDir: t.TempDir()}} {
		if _, err := audit.Run(context.Background(), bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestExitCode(t *testing.T) {
	check := func(promise int, v audit.Verdict) audit.Check { return audit.Check{Promise: promise, Verdict: v} }
	for name, one := range map[string]struct {
		report audit.Report
		code   int
	}{
		"all held":                   {audit.Report{Checks: []audit.Check{check(2, audit.Holds), check(3, audit.NotJudged)}}, 0},
		"one broken":                 {audit.Report{Checks: []audit.Check{check(2, audit.Holds), check(5, audit.Broken)}}, 1},
		"named and not judged":       {audit.Report{Only: []int{2, 3}, Checks: []audit.Check{check(2, audit.Holds), check(3, audit.NotJudged)}}, 2},
		"broken counts more":         {audit.Report{Only: []int{2, 3}, Checks: []audit.Check{check(2, audit.Broken), check(3, audit.NotJudged)}}, 1},
		"nothing judged":             {audit.Report{Checks: []audit.Check{check(3, audit.NotJudged)}}, 2},
		"nothing asked":              {audit.Report{}, 2},
		"named others, not this one": {audit.Report{Only: []int{2}, Checks: []audit.Check{check(2, audit.Holds)}}, 0},
	} {
		if got := one.report.ExitCode(); got != one.code {
			t.Errorf("%s: exit code %d, want %d", name, got, one.code)
		}
	}
}
