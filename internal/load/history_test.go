package load_test

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/history"
	"github.com/nova-chat/nova/internal/load"
)

// TestHistoryOverARestart writes a history over two addresses of a server that
// is restarted in the middle, and has it judged.
func TestHistoryOverARestart(t *testing.T) {
	cfg := wide(t)
	a, stop := serve(t, cfg)
	cfg.ListenPublic = strings.TrimPrefix(a.PublicURL(), "http://")
	again := "http://" + strings.Replace(cfg.ListenPublic, "127.0.0.1", "localhost", 1)
	sessions := seed(t, cfg, 6)
	under := make(chan struct{}, 100)
	ctx, finish := context.WithCancel(t.Context())
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() {
		_, err := put(t, ctx, load.Options{
			Target: a.PublicURL(), Others: []string{again}, Sessions: sessions, Pairs: 3, Window: 2, Duration: time.Minute,
			Reconnect: true, History: &out,
			Report: func(p load.Progress) {
				if p.Sends > 0 {
					under <- struct{}{}
				}
			},
		})
		done <- err
	}()
	<-under
	stop()
	serve(t, cfg)
	for len(under) > 0 {
		<-under
	}
	<-under
	finish()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	text := out.String()
	r := judge(t, text)
	if left := r.Undecided(); len(r.Broken()) > 0 || !slices.Equal(left, []string{"I13", "I15", "I16", "I17"}) {
		t.Errorf("broken %v, not judged %v: %+v", r.Broken(), left, r.Verdicts)
	}
	for _, part := range []string{`"again":true`, `"src":"live"`, `"src":"history"`, `"node":"localhost:`, `"op":"log","node":"127.0.0.1:`} {
		if !strings.Contains(text, part) {
			t.Errorf("the history has no %s", part)
		}
	}
	// Without one message that came over a socket, and others after it, it is broken.
	lines := strings.SplitAfter(text, "\n")
	first := slices.IndexFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, `{"op":"recv"`) && strings.Contains(line, `"src":"live"`)
	})
	if r := judge(t, strings.Join(slices.Delete(lines, first, first+1), "")); !slices.Contains(r.Broken(), "I8") {
		t.Errorf("a message is missing, and what is broken is %v", r.Broken())
	}
}

func judge(t *testing.T, text string) history.Report {
	t.Helper()
	all, err := history.Read(t.Context(), history.Source{Name: "h", Reader: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	return all[0].Report(5)
}

// TestCountersAreInTheHistory: with the admin listener's address, I16 is judged.
func TestCountersAreInTheHistory(t *testing.T) {
	cfg := wide(t)
	cfg.Limits.MessagesPerUser.Count, cfg.Limits.MessagesPerUser.Burst = 50, 50 // some are refused
	a, _ := serve(t, cfg)
	var out bytes.Buffer
	res, err := put(t, t.Context(), load.Options{
		Target: a.PublicURL(), Admins: []string{a.AdminURL()}, Sessions: seed(t, cfg, 4), Pairs: 2, Window: 4,
		Duration: 2 * time.Second, History: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := judge(t, out.String())
	if res.Errors["rate_limited"] == 0 || len(r.Broken()) > 0 || slices.Contains(r.Undecided(), "I16") {
		t.Errorf("broken %v, not judged %v: %+v", r.Broken(), r.Undecided(), r.Verdicts)
	}
	wrong := strings.Replace(out.String(), `"messages_committed_total":`, `"messages_committed_total":1`, 1)
	if r := judge(t, wrong); !slices.Contains(r.Broken(), "I16") {
		t.Errorf("a wrong counter breaks %v", r.Broken())
	}
}

// TestAHistoryCanHaveSeveralWriters: with a name and a clock of the caller's, his
// own lines are of the same history.
func TestAHistoryCanHaveSeveralWriters(t *testing.T) {
	cfg := wide(t)
	a, _ := serve(t, cfg)
	clock := time.Now().Add(-time.Hour)
	var out bytes.Buffer
	_, err := put(t, t.Context(), load.Options{
		Target: a.PublicURL(), Sessions: seed(t, cfg, 2), Pairs: 1, Duration: 100 * time.Millisecond, Warmup: time.Millisecond,
		History: &out, Run: "one", Clock: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	const own = `{"op":"history","version":1,"run":"one"}
{"op":"outbox","service":"auth","depth":0,"t":1}
`
	text := out.String()
	all, err := history.Read(t.Context(), history.Source{Name: "a", Reader: &out}, history.Source{Name: "b", Reader: strings.NewReader(own)})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d histories, %v", len(all), err)
	}
	if !regexp.MustCompile(`"t":36\d{11}\b`).MatchString(text) { // an hour and less than 100 s, in nanoseconds
		t.Errorf("times are not those of the clock: %.300s", text)
	}
}

// full is a file on a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, context.DeadlineExceeded }

func TestHistoryThatCannotBeWritten(t *testing.T) {
	cfg := wide(t)
	a, _ := serve(t, cfg)
	_, err := put(t, t.Context(), load.Options{
		Target: a.PublicURL(), Sessions: seed(t, cfg, 2), Pairs: 1, Duration: 100 * time.Millisecond, Warmup: time.Millisecond, History: full{},
	})
	if err == nil || !strings.Contains(err.Error(), "history") {
		t.Errorf("got %v", err)
	}
}
