package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/audit"
)

func TestASoundNodeHolds(t *testing.T) {
	n := startNode(t)
	n.cfg.Limits.LoginsPerAddress.Burst = 20 // nothing is raised for this one
	catalogue, _, err := app.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	public, admin := n.urls()
	r, err := audit.Run(context.Background(), audit.Options{Public: public, Admin: admin, LogDir: n.cfg.LogDir, Series: catalogue.Static(), Requests: 2000})
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
	n := startNode(t)
	for _, promise := range []int{2, 5, 6, 9} {
		want(t, n.run(t, promise, &defect{}), audit.Holds)
	}
}

func TestShutdown(t *testing.T) {
	restarting := func(n *node) func(*audit.Options) {
		return func(o *audit.Options) { o.Restart = n.restart }
	}
	t.Run("sound", func(t *testing.T) {
		n := startNode(t)
		want(t, n.run(t, 1, &defect{}, restarting(n)), audit.Holds)
	})
	t.Run("acknowledged and dropped", func(t *testing.T) {
		n := startNode(t)
		want(t, n.run(t, 1, &defect{request: forgedAnswers(7)}, restarting(n)), audit.Broken, "acknowledged and not stored once")
	})
	t.Run("delivered never", func(t *testing.T) {
		n := startNode(t)
		lost := func(frame []byte) []byte {
			if bytes.Contains(frame, []byte(`"seq":5,`)) && bytes.HasPrefix(frame, []byte(`{"op":"message"`)) {
				return nil
			}
			return frame
		}
		want(t, n.run(t, 1, &defect{toClient: lost}, restarting(n)), audit.Broken, "not delivered")
	})
	t.Run("closed without a word", func(t *testing.T) {
		n := startNode(t)
		want(t, n.run(t, 1, &defect{abrupt: true}, restarting(n)), audit.Broken, "close code 1006")
	})
	t.Run("not restarted", func(t *testing.T) {
		n := startNode(t)
		nothing := func(o *audit.Options) { o.Restart = audit.Command("true") }
		want(t, n.run(t, 1, nil, nothing), audit.NotJudged)
		failing := func(o *audit.Options) { o.Restart = audit.Command("echo no such unit; exit 3") }
		want(t, n.run(t, 1, nil, failing), audit.NotJudged)
	})
}

// forgedAnswers acknowledges every n-th message over REST without storing it.
func forgedAnswers(n int) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	count := 0
	return func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPost || req.URL.Path != "/api/v1/messages" {
			return false
		}
		mu.Lock()
		count++
		forge := count%n == 0
		mu.Unlock()
		if forge {
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprint(w, `{"id":"M","seq":1}`)
		}
		return forge
	}
}

func TestCardinality(t *testing.T) {
	n := startNode(t)
	t.Run("a series per path", func(t *testing.T) {
		var mu sync.Mutex
		paths := map[string]bool{}
		d := &defect{
			request: func(_ http.ResponseWriter, req *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				paths[req.URL.EscapedPath()] = true
				return false
			},
			metrics: func(text string) string {
				mu.Lock()
				defer mu.Unlock()
				for p := range paths {
					text += fmt.Sprintf("http_paths_total{path=%q} 1\n", p)
				}
				return text
			},
		}
		want(t, n.run(t, 2, d), audit.Broken, "before and after the attack the set of series differs")
	})
	t.Run("a series per method, by raw lines alone", func(t *testing.T) {
		extra := regexp.MustCompile(`(?m)^http_requests_total\{method="other".* [1-9][0-9.e+]*$`)
		d := &defect{metrics: func(text string) string {
			if extra.MatchString(text) {
				text += "http_requests_total{method=\"BLAH\",route=\"x\",status=\"4xx\"} 1\n"
			}
			return text
		}}
		want(t, startNode(t).run(t, 2, d), audit.Broken, "BLAH")
	})
	t.Run("too many", func(t *testing.T) {
		d := &defect{metrics: func(text string) string {
			var b strings.Builder
			b.WriteString(text)
			for i := range 5000 {
				fmt.Fprintf(&b, "many_total{i=\"%d\"} 1\n", i)
			}
			return b.String()
		}}
		want(t, n.run(t, 2, d), audit.Broken, "must stay below 5000")
	})
	t.Run("not the catalogue's", func(t *testing.T) {
		other := func(o *audit.Options) { o.Series = []string{"declared_total"} }
		want(t, n.run(t, 2, nil, other), audit.Broken, "declared_total")
	})
}

var cidField = regexp.MustCompile(`"cid":"[^"]*"`)

func TestCorrelation(t *testing.T) {
	n := startNode(t)
	strip := func(op string) func([]byte) []byte {
		return func(frame []byte) []byte {
			if bytes.HasPrefix(frame, []byte(`{"op":"`+op+`"`)) {
				return cidField.ReplaceAll(frame, []byte(`"cid":""`))
			}
			return frame
		}
	}
	for name, one := range map[string]struct {
		d       defect
		because string
	}{
		"header lost":           {defect{answer: func(res *http.Response) { res.Header.Del("X-Correlation-ID") }}, "hop HTTP answer"},
		"sender's answer":       {defect{toClient: strip("sent")}, "hop frame, sender's answer"},
		"recipient's frame":     {defect{toClient: strip("message")}, "recipient's frame"},
		"never got there":       {defect{request: dropHeader("X-Correlation-Id")}, "messaging.log: no line"},
		"frames mixed up":       {defect{toClient: mixed()}, "arrived with another one"},
		"frame's own ID unread": {defect{toServer: func(f []byte) []byte { return cidField.ReplaceAll(f, []byte(`"cid":"other"`)) }}, "hop frame, sender's answer"},
	} {
		t.Run(name, func(t *testing.T) { want(t, n.run(t, 5, &one.d), audit.Broken, one.because) })
	}
	t.Run("logs of somebody else", func(t *testing.T) {
		other := startNode(t)
		elsewhere := func(o *audit.Options) { o.LogDir = other.cfg.LogDir }
		want(t, n.run(t, 5, nil, elsewhere), audit.Broken, "messaging.log: no line", "auth.log: no line", "user.log: no line")
	})
	t.Run("without logs", func(t *testing.T) {
		c := n.run(t, 5, nil, func(o *audit.Options) { o.LogDir = "" })
		want(t, c, audit.Holds)
		if !slices.ContainsFunc(c.Facts, func(f audit.Fact) bool { return f.Verdict == audit.NotJudged && strings.Contains(f.Text, "user.log") }) {
			t.Error("the report does not name the hops that were not judged")
		}
	})
}

func dropHeader(name string) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, req *http.Request) bool {
		req.Header.Del(name)
		return false
	}
}

// mixed gives every message event the ID of the one before.
func mixed() func([]byte) []byte {
	var mu sync.Mutex
	last := []byte(`"cid":"none"`)
	return func(frame []byte) []byte {
		if !bytes.HasPrefix(frame, []byte(`{"op":"message"`)) {
			return frame
		}
		mu.Lock()
		defer mu.Unlock()
		own := bytes.Clone(cidField.Find(frame))
		out := bytes.Replace(frame, own, last, 1)
		last = own
		return out
	}
}

func TestServiceLevels(t *testing.T) {
	n := startNode(t)
	for name, one := range map[string]struct {
		d       defect
		because string
	}{
		"histogram frozen":     {defect{metrics: frozen("message_e2e_latency_seconds")}, "message_e2e_latency_seconds_count[stage acknowledged] moved by"},
		"histogram scaled":     {defect{metrics: replace(`stage="acknowledged",le="0.`, `stage="acknowledged",le="0.00`)}, "at most one bucket apart"},
		"written called acked": {defect{metrics: swap(`stage="written"`, `stage="acknowledged"`)}, "at most one bucket apart"},
		"acks dropped":         {defect{toServer: without(`"op":"ack"`)}, "message_e2e_latency_seconds_count[stage acknowledged] moved by"},
		"gauge frozen":         {defect{metrics: frozen("active_connections")}, "active_connections moved by"},
		"survivors only":       {defect{metrics: frozen("message_unacked_oldest_seconds")}, "message_unacked_oldest_seconds grows to"},
		"connects not timed":   {defect{metrics: frozen("ws_connection_establish_time_seconds")}, "ws_connection_establish_time_seconds_count moved by"},
	} {
		t.Run(name, func(t *testing.T) { want(t, n.run(t, 6, &one.d), audit.Broken, one.because) })
	}
}

func without(text string) func([]byte) []byte {
	return func(frame []byte) []byte {
		if bytes.Contains(frame, []byte(text)) {
			return nil
		}
		return frame
	}
}

// swap exchanges two strings.
func swap(a, b string) func(string) string {
	return strings.NewReplacer(a, b, b, a).Replace
}

func TestReasons(t *testing.T) {
	n := startNode(t)
	for name, one := range map[string]struct {
		d       defect
		because string
	}{
		"one reason counted as another": {defect{metrics: swap(`login_failures_total{reason="wrong_password"}`, `login_failures_total{reason="user_not_found"}`)}, "must be exactly wrong_password +1"},
		"identity":                      {defect{metrics: swap(`identity_refusals_total{reason="revoked"}`, `identity_refusals_total{reason="expired"}`)}, "must be exactly revoked +1"},
		"sockets":                       {defect{metrics: swap(`ws_closes_total{reason="hello_timeout"}`, `ws_closes_total{reason="gone"}`)}, "must be exactly hello_timeout +1"},
		"rejections":                    {defect{metrics: swap(`messages_rejected_total{code="not_found"}`, `messages_rejected_total{code="internal"}`)}, "must be exactly not_found +1"},
		"unknown":                       {defect{metrics: replace(`login_failures_total{reason="unknown"} 0`, `login_failures_total{reason="unknown"} 3`)}, "a failure without a reason is a defect"},
		"no series for 2fa":             {defect{metrics: replace(`login_failures_total{reason="2fa_failed"} 0`, "")}, "has a series for 2fa_failed"},
		"telling too much":              {defect{answer: tooMuch}, "the caller is told"},
	} {
		t.Run(name, func(t *testing.T) { want(t, n.run(t, 9, &one.d), audit.Broken, one.because) })
	}
}

// tooMuch tells the caller that the account is locked.
func tooMuch(res *http.Response) {
	if res.StatusCode == http.StatusTooManyRequests {
		res.StatusCode = http.StatusForbidden
		res.Body = io.NopCloser(strings.NewReader(`{"code":"forbidden","detail":"this account is locked"}`))
		res.ContentLength = -1
		res.Header.Del("Content-Length")
	}
}

func TestNothingIsGreenByAbsence(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	r, err := audit.Run(context.Background(), audit.Options{Public: gone.URL, Admin: gone.URL})
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
	r, err := audit.Run(context.Background(), audit.Options{Public: public, Admin: admin, Only: []int{1, 2, 3}, Requests: 100})
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
	for _, bad := range []audit.Options{{}, {Public: public}, {Public: public, Admin: admin, Only: []int{10}}, {Public: "nonsense", Admin: admin}, {Public: public, Admin: admin, LogDir: t.TempDir()}} {
		if _, err := audit.Run(context.Background(), bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
