package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
)

// serversRun leaves out the goroutine that waits for a server of the whole test
// process, which ends with it; dialled, what a closed client of Redis does for
// another half second.
var (
	serversRun = goleak.IgnoreAnyFunction("github.com/nova-chat/nova/test/servers.(*Server).start.func2")
	dialled    = goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).dialConn")
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, serversRun, dialled, goleak.Cleanup(func(code int) {
		http.DefaultClient.CloseIdleConnections()
		os.Exit(code)
	}))
}

func TestStopLosesNothingAndLeavesNothing(t *testing.T) {
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	s, _, _ := alice.connect()
	receiver, _, _ := bob.connect()
	acked := make(chan int)
	go func() { // sends until it is told to stop, and counts what was acknowledged
		count, draining := 0, false
		defer func() { acked <- count }()
		for i := 0; ; i++ {
			if !draining && s.c.WriteText(fmt.Appendf(nil, `{"op":"send","id":"%d","conversation_id":"%s","client_msg_id":"m-%d","body":"b"}`, i, k, i)) != nil {
				return
			}
			b, err := s.next()
			switch {
			case err != nil:
				return
			case strings.Contains(string(b), `"op":"sent"`):
				count++
			case strings.Contains(string(b), `"op":"drain"`):
				draining = true
			}
		}
	}()
	for range 50 {
		receiver.until("message")
	}
	ledger := n.stop()
	count := <-acked
	if ledger.Err != nil || ledger.GoroutinesLeft != 0 || ledger.OutboxLeft != 0 || ledger.Unknown != 0 {
		t.Errorf("ledger %+v", ledger)
	}
	if ledger.Accepted != ledger.Committed+ledger.Rejected+ledger.Unknown || int(ledger.Committed) != count {
		t.Errorf("%d sends were acknowledged, the ledger says %+v", count, ledger)
	}
	if code := receiver.closed(); code != 1012 {
		t.Errorf("closed with %d, want 1012", code)
	}
	for _, text := range []string{"Shutting down gracefully...", "shutdown ledger"} {
		if lines := n.log.lines(t, text); len(lines) != 1 {
			t.Errorf("%q is logged %d times", text, len(lines))
		}
	}
	ledgerLine := n.log.lines(t, "shutdown ledger")[0]
	for _, field := range []string{"accepted", "committed", "rejected", "unknown", "acknowledged", "sockets_closed", "outbox_left", "goroutines_left", "duration_ms"} {
		if _, ok := ledgerLine[field]; !ok {
			t.Errorf("the ledger lacks %s", field)
		}
	}
}

func TestAClientThatIgnoresTheDrainIsClosedAllTheSame(t *testing.T) {
	n := start(t, t.TempDir())
	s, _, _ := n.register("alice").connect()
	begin := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); n.stop() }()
	if f := s.until("drain"); f["reconnect_in_ms"] == nil {
		t.Errorf("got %v", f)
	}
	if code := s.closed(); code != 1012 {
		t.Errorf("closed with %d, want 1012", code)
	}
	<-done
	if took := time.Since(begin); took > 25*time.Second {
		t.Errorf("the drain took %v", took)
	}
}

func TestTwoServersOnOneFolderAreRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	cfg := config.Default()
	cfg.DataDir, cfg.ListenPublic, cfg.ListenAdmin = dir, "127.0.0.1:0", "127.0.0.1:0"
	if err := tryStart(cfg); err == nil || !strings.Contains(err.Error(), "data folder") {
		t.Errorf("a second server on the folder gives %v", err)
	}
}

func TestOneCauseIsFollowedThroughAllHops(t *testing.T) {
	dir := t.TempDir()
	logDir := filepath.Join(dir, "log")
	n := start(t, filepath.Join(dir, "data"), func(c *config.Config) { c.LogDir = logDir })
	reg := person{n: n}.call("POST", "auth/register", map[string]any{"username": "alice", "password": phrase}, "X-Correlation-ID", "reg-1").want(t, 201)
	if got := reg.header.Get("X-Correlation-ID"); got != "reg-1" {
		t.Errorf("the answer carries %q", got)
	}
	alice, bob := n.person(reg), n.register("bob")
	// At once, without waiting for the event that makes the profile.
	k := bob.direct(alice)
	s, _, _ := bob.connect()
	alice.send(k, "c-1", "hi", "X-Correlation-ID", "test-123").want(t, 201)
	if f := s.until("message"); f["cid"] != "test-123" {
		t.Errorf("the recipient's frame carries %v", f["cid"])
	}
	person{n: n}.call("GET", "messages", nil, "X-Correlation-ID", "anon-7").want(t, 401)
	n.stop()
	for file, ids := range map[string][]string{"messaging.log": {"test-123", "anon-7"}, "auth.log": {"reg-1"}, "user.log": {"reg-1"}} {
		b, err := os.ReadFile(filepath.Join(logDir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if !strings.Contains(string(b), `"correlation_id":"`+id+`"`) {
				t.Errorf("%s does not hold %s:\n%s", file, id, b)
			}
		}
	}
	wantNoWords(t, logDir)
}

// wantNoWords is the audit's literal search of the log folder.
func wantNoWords(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.ToLower(string(b))) {
			for _, word := range []string{"password", "secret", "token", "key", "credential"} {
				if strings.Contains(line, word) {
					t.Errorf("%s: %q is in %s", f.Name(), word, line)
				}
			}
		}
	}
}

func TestManyCausesNeverMix(t *testing.T) {
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	s, _, _ := bob.connect()
	const all = 300
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			id := fmt.Sprintf("mix-%d", i)
			if got := alice.send(k, id, id, "X-Correlation-ID", id); got.status != 201 || got.header.Get("X-Correlation-ID") != id {
				t.Errorf("%d %v: %s", got.status, got.header.Get("X-Correlation-ID"), got.raw)
			}
		})
	}
	for range all {
		f := s.until("message")
		if body := f["message"].(map[string]any)["body"]; f["cid"] != body {
			t.Errorf("the message of %v carries %v", body, f["cid"])
		}
	}
	wg.Wait()
}

func TestSeriesStayWhatTheCatalogueSays(t *testing.T) {
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	before := n.app.Obs().Metrics.Static()
	catalogue, _, err := app.Catalogue(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(catalogue.Static(), before); diff != "" {
		t.Errorf("a process differs from the catalogue (-catalogue +process):\n%s", diff)
	}
	s, _, _ := bob.connect()
	for i := range 300 {
		alice.send(k, fmt.Sprint("c", i%7), "b")
		alice.call("GET", fmt.Sprintf("users/nobody%d/x%d", i, i), nil, "X-Correlation-ID", fmt.Sprint("r", i))
		s.write(fmt.Sprintf(`{"op":"o%d","id":"%d"}`, i%3, i))
		if i%9 == 8 {
			s, _, _ = bob.connect()
		}
	}
	got, err := n.app.Obs().Metrics.Gathered()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(before, "\n") != strings.Join(got, "\n") {
		t.Errorf("the series changed from %d to %d", len(before), len(got))
	}
	if len(got) >= 1000 {
		t.Errorf("%d series; the goal for a process is below 1000", len(got))
	}
}
