package obs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/fault"
)

func newTest(t testing.TB) (*Obs, *bytes.Buffer) {
	t.Helper()
	var buf bytes.Buffer
	o, err := New(Config{Level: slog.LevelDebug, Out: &buf})
	if err != nil {
		t.Fatal(err)
	}
	return o, &buf
}

func TestGatheredEqualsStatic(t *testing.T) {
	m := NewMetrics()
	m.Route("GET", "/api/v1/users/{id}", Class2xx, Class4xx).Done(200, time.Millisecond)
	m.Route("PATCH", "/api/v1/users/{id}", Class2xx)
	m.UnmatchedRequest("BLAH")
	m.LoginFailures.Inc(TwoFactorFailed)
	m.MessagesRejected.Inc(fault.CodeNotFound)
	m.E2ELatency.Observe(StageWritten, time.Second)
	got, err := m.Gathered()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Static(), got); diff != "" {
		t.Errorf("a scrape differs from the catalogue (-static +scrape):\n%s", diff)
	}
	if n := len(got); n > 1000 {
		t.Errorf("%d series before any route; the goal for a whole process is below 1000", n)
	}
}

// TestAProcessHasTheSeriesOfItsServices: what nothing in the process can move is
// not exported, and all processes together have everything.
func TestAProcessHasTheSeriesOfItsServices(t *testing.T) {
	var union []string
	for _, s := range Services() {
		m := NewMetrics(s)
		// What is not the process's own can be counted all the same.
		m.MessagesRejected.Inc(fault.CodeNotFound)
		m.DBDuration.Observe(Auth, AccessWrite, time.Second)
		m.DBFailures.Inc(Messaging, StoreFull)
		m.DBActive.Set(User, 1)
		m.LoginFailures.Inc(WrongPassword)
		m.RateLimited.Inc(LimitLoginsPerAddress)
		got, err := m.Gathered()
		if diff := cmp.Diff(m.Static(), got); diff != "" || err != nil {
			t.Errorf("%s: %v (-static +scrape):\n%s", s, err, diff)
		}
		for text, owner := range map[string]Service{
			"messages_accepted_total": Messaging, "active_connections": Messaging, `login_failures_total{reason="user_not_found"}`: Auth,
			`db_connections_active{service="user"}`: User, `queue_processing_lag_messages{queue="fanout"}`: Messaging,
			`rate_limited_total{limit="logins_per_address"}`: Auth, `cache_requests_total{cache="profiles",result="hit"}`: User,
		} {
			if slices.Contains(got, text) != (owner == s) {
				t.Errorf("%s: whether it has %s", s, text)
			}
		}
		union = append(union, got...)
	}
	slices.Sort(union)
	if diff := cmp.Diff(NewMetrics().Static(), slices.Compact(union)); diff != "" {
		t.Errorf("all processes together (-whole +union):\n%s", diff)
	}
}

func TestUndeclaredClassAddsNoSeries(t *testing.T) {
	m := NewMetrics()
	r := m.Route("GET", "/x", Class2xx)
	before := m.Static()
	r.Done(503, time.Millisecond)
	r.Done(999, time.Millisecond)
	got, _ := m.Gathered()
	if diff := cmp.Diff(before, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsAddedAtStartIsInTheCatalogue(t *testing.T) {
	m := NewMetrics()
	before := len(m.Static())
	m.Calls(Auth).Outcomes.Inc(OutcomeFailed)
	m.Calls(Auth).Duration.Observe(time.Second)
	m.Blobs().Inc(StoreFull)
	m.Blobs().Inc(StoreBusy) // cannot be: counts as unknown
	m.MessagesRejected.Inc(fault.CodeUpgradeRequired)
	m.Wire().Retries.Inc()
	m.Wire().Ejections.Inc()
	m.Certificates().Life.Set(CertificateIdentity, 60)
	m.Certificates().Failures.Inc(CertificateExpired)
	m.Certificates().Refusals.Inc(PeerWrongName)
	want := before + len(outcomeNames) + len(storeBounds) + 3 + len(blobReasons) + 2 + len(certificateNames) + len(certificateReasons) + len(peerReasons)
	got, err := m.Gathered()
	if diff := cmp.Diff(m.Static(), got); diff != "" || err != nil || len(got) != want {
		t.Errorf("%d series, want %d, %v (-static +scrape):\n%s", len(got), want, err, diff)
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`rpc_calls_total{outcome="failed",service="auth"} 1`, `rpc_call_duration_seconds_count{service="auth"} 1`,
		`blob_failures_total{reason="full"} 1`, `blob_failures_total{reason="unknown"} 1`, `messages_rejected_total{code="conflict"} 1`,
		`rpc_retries_total 1`, `rpc_ejections_total 1`, `nova_certificate_expiry_seconds{certificate="identity"} 60`,
		`rpc_certificate_failures_total{reason="expired"} 1`, `rpc_peer_refusals_total{reason="wrong_name"} 1`,
	} {
		if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
}

func TestEveryMetricOfTheProtocolExists(t *testing.T) {
	have := map[string]bool{}
	for _, f := range NewMetrics().Families() {
		have[f.Name] = true
		if f.Help == "" || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: help %q is no sentence", f.Name, f.Help)
		}
	}
	for _, name := range []string{
		"message_e2e_latency_seconds", "ws_connection_establish_time_seconds", "http_request_duration_seconds",
		"active_connections", "db_connections_active", "db_connections_idle", "queue_processing_lag_messages", "outbox_unpublished_events",
		"http_requests_total", "login_failures_total", "message_delivery_failures_total", "cache_requests_total", "log_lines_dropped_total",
	} {
		if !have[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestSamplingConservesLines(t *testing.T) {
	if n := len(siteNames); n > maxSites {
		t.Fatalf("%d sites, room for %d", n, maxSites)
	}
	var s sampler
	kept := 0
	for range 1000 {
		if s.keepAt(SiteSend, 7) {
			kept++
		}
	}
	if want := 10 + 10; kept != want { // the first ten, then 100, 200, ... 1000
		t.Errorf("kept %d lines of 1000, want %d", kept, want)
	}
	if !s.keepAt(SiteSend, 8) || !s.keepAt(SiteRequest, 7) {
		t.Error("a new second or another site must start anew")
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	o, _ := newTest(t)
	for range 20 {
		o.Sample(SiteSend)
	}
	for name, f := range map[string]func(){
		"counter":      func() { o.Metrics.LoginFailures.Inc(WrongPassword) },
		"pair":         func() { o.Metrics.CacheRequests.Inc(CacheProfiles, CacheMiss) },
		"histogram":    func() { o.Metrics.E2ELatency.Observe(StageWritten, time.Millisecond) },
		"dropped line": func() { o.Sample(SiteSend) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func TestLineCarriesServiceAndCorrelation(t *testing.T) {
	o, buf := newTest(t)
	ctx := WithCorrelation(context.Background(), "test-123")
	o.Log(Messaging).LogAttrs(ctx, slog.LevelInfo, "sent", slog.Int("seq", 3), slog.Duration("took", 1500*time.Microsecond))
	var line map[string]any
	if err := json.Unmarshal(buf.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	delete(line, "time")
	want := map[string]any{"level": "INFO", "msg": "sent", "service": "messaging", "correlation_id": "test-123", "seq": 3.0, "took_ms": 1.5}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Error(diff)
	}
}

func TestSecretsStayHidden(t *testing.T) {
	const canary = "c4nary-9f8e7d6c5b4a"
	o, buf := newTest(t)
	s := NewSecret(canary)
	o.Hide(s)
	type holder struct{ inner Secret }
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(buf, verb+verb+verb, s, holder{s}, &holder{s})
	}
	b, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	buf.Write(b)
	log := o.Log(Auth)
	ctx := context.Background()
	log.ErrorContext(ctx, "x", Cause(fmt.Errorf("dial postgres://u:%s@h: %w", canary, errors.New("refused"))))
	log.ErrorContext(ctx, "x", slog.Any("holder", holder{s}), slog.String("b64", base64.StdEncoding.EncodeToString([]byte(canary))))
	log.With(slog.String("who", canary)).ErrorContext(ctx, "hello "+canary)
	if out := buf.String(); strings.Contains(out, canary) || strings.Contains(out, base64.StdEncoding.EncodeToString([]byte(canary))) {
		t.Errorf("the canary got out:\n%s", out)
	}
	if s.Reveal() != canary {
		t.Error("Reveal must give the value")
	}
}

func TestForeignTextLosesWhatTheLiteralSearchFinds(t *testing.T) {
	o, buf := newTest(t)
	err := errors.New("jwt: Token has bad Secret key; PASSWORD and credentials at redis://me:hunter2xyz@h, eyJhbGciOiJFZERTQSJ9.e30.x")
	o.Log(Auth).ErrorContext(context.Background(), "refused", Cause(err))
	low := strings.ToLower(buf.String())
	for _, bad := range []string{"password", "secret", "token", "key", "credential", "hunter2xyz", "eyj"} {
		if strings.Contains(low, bad) {
			t.Errorf("%q is in %s", bad, low)
		}
	}
}

func TestLogFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	o, err := New(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	o.Log(User).Info("profile made")
	o.Log(Process).Info("up")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"user.log": "profile made", "nova.log": "up"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !strings.Contains(string(b), text) || strings.Count(string(b), "\n") != 1 {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
}

func TestCorrelation(t *testing.T) {
	for s, ok := range map[string]bool{
		"test-123": true, "a.b_c-D": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a b": false, "a\r\nb": false, "r~1": false, "ä": false, `{"a":1}`: false,
	} {
		if _, got := ParseCorrelation(s); got != ok {
			t.Errorf("ParseCorrelation(%q) = %v", s, got)
		}
	}
	if got := Correlation("ID").Child(7); got != "ID.7" {
		t.Errorf("Child = %q", got)
	}
	long := Correlation(strings.Repeat("x", 64)).Child(18446744073709551615)
	if _, ok := ParseCorrelation(string(long)); !ok || !strings.HasSuffix(string(long), ".18446744073709551615") {
		t.Errorf("child of a long ID is %q", long)
	}
}

func FuzzParseCorrelation(f *testing.F) {
	for _, s := range []string{"test-123", "", "a b", "\r\n", "r~1", strings.Repeat("z", 65)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := ParseCorrelation(s)
		if !ok {
			return
		}
		if len(c) < 1 || len(c) > 64 || strings.Trim(string(c), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			t.Errorf("accepted %q", s)
		}
		if _, ok := ParseCorrelation(string(c.Child(uint64(len(s))))); !ok {
			t.Errorf("child of %q is malformed", c)
		}
	})
}

func BenchmarkCounterInc(b *testing.B) {
	m := NewMetrics()
	b.ReportAllocs()
	for b.Loop() {
		m.LoginFailures.Inc(WrongPassword)
	}
}

func BenchmarkDroppedLine(b *testing.B) {
	o, _ := newTest(b)
	b.ReportAllocs()
	for b.Loop() {
		o.Sample(SiteSend)
	}
}

func TestReasonsAreLoggedWithoutTheSearchedWords(t *testing.T) {
	if got := LogName(WrongPassword); got != "wrong_pass_word" {
		t.Errorf("LogName(WrongPassword) = %q", got)
	}
	if got := LogName(UserNotFound); got != UserNotFound.String() {
		t.Errorf("LogName(UserNotFound) = %q", got)
	}
	for v := LoginReason(0); v.String() != ""; v++ {
		if words.MatchString(LogName(v)) {
			t.Errorf("%q would be found", LogName(v))
		}
	}
}
