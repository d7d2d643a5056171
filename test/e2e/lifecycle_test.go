package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/test/servers"
)

// dialled and dials leave out what a closed client of Redis does for up to another
// second.
var (
	dialled = goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).dialConn")
	dials   = goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
	// A proxy whose connection ends while it passes something on may leave this behind.
	proxied = goleak.IgnoreTopFunction("github.com/Shopify/toxiproxy/v2/toxics.(*NoopToxic).Pipe")
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, servers.Running(), dialled, dials, proxied, goleak.Cleanup(func(code int) {
		http.DefaultClient.CloseIdleConnections()
		_ = os.RemoveAll(built.dir) // whether there is one or not
		os.Exit(code)
	}))
}

func TestStopLosesNothingAndLeavesNothing(t *testing.T) {
	t.Parallel()
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
		if lines := n.log.lines(t, text); len(lines) != len(n.apps) {
			t.Errorf("%q is logged %d times by %d processes", text, len(lines), len(n.apps))
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
	t.Parallel()
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
	onlyAlone(t, aboutFiles)
	t.Parallel()
	dir := t.TempDir()
	start(t, dir)
	cfg := config.Default()
	cfg.DataDir, cfg.ListenPublic, cfg.ListenAdmin = dir, "127.0.0.1:0", "127.0.0.1:0"
	if err := tryStart(cfg); err == nil || !strings.Contains(err.Error(), "data_dir: is in use by process") {
		t.Errorf("a second server on the folder gives %v", err)
	}
}

func TestSeriesStayWhatTheCatalogueSays(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	var before [][]string
	for i, a := range n.apps {
		catalogue, _, err := app.Catalogue(n.cfgs[i])
		if err != nil {
			t.Fatal(err)
		}
		static := a.Obs().Metrics.Static()
		if diff := cmp.Diff(catalogue.Static(), static); diff != "" {
			t.Errorf("a process differs from the catalogue (-catalogue +process):\n%s", diff)
		}
		before = append(before, static)
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
	sum := 0
	for i, a := range n.apps {
		got, err := a.Obs().Metrics.Gathered()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before[i], got); diff != "" {
			t.Errorf("the series of a process changed (-before +after):\n%s", diff)
		}
		if len(got) >= 1000 {
			t.Errorf("%d series; the goal for a process is below 1000", len(got))
		}
		sum += len(got)
	}
	if sum >= 5000 {
		t.Errorf("%d series in all; the promise is below 5000", sum)
	}
}
