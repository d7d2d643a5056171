package messaging

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/ws"
)

// series reads a metric by its label, or under "" one without.
func (r *rig) series(family string) map[string]float64 {
	r.Helper()
	w, out := httptest.NewRecorder(), map[string]float64{}
	r.s.obs.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, m := range regexp.MustCompile(`(?m)^`+family+`(?:\{[^"]*"([^"]*)"\})? (\S+)$`).FindAllStringSubmatch(w.Body.String(), -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		r.must(err)
		out[m[1]] = v
	}
	return out
}

// TestLagCountsEverythingThatTakesAPosition: conversations are handed out in the
// same order as messages, and wait like them.
func TestLagCountsEverythingThatTakesAPosition(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	want := func(when string, lag float64) {
		t.Helper()
		if got := r.s.hub.lag(); got != lag {
			t.Errorf("%s: the lag is %v, want %v", when, got, lag)
		}
	}
	want("at first", 0)
	k := r.room(alice, bob)
	want("with a conversation committed", 1)
	r.apply(1)
	want("when it was handed out", 0)
	r.post(alice, k, "x")
	r.room(alice, bob, somebody("c"))
	want("with a message and a group", 2)
	r.apply(1)
	want("with the message handed out", 1)
	r.apply(1)
	want("in the end", 0)
}

// TestAMessageIsTracedOncePerNode: one line for all sockets, with the ID that
// the message was sent with, and none where nobody is.
func TestAMessageIsTracedOncePerNode(t *testing.T) {
	r := single(t)
	var out bytes.Buffer
	log, err := obs.New(obs.Config{Out: &out})
	r.must(err)
	r.s.log = log.Log(obs.Messaging)
	alice, bob := somebody("a"), somebody("b")
	phone := bob
	phone.SessionID, phone.DeviceID = alice.SessionID, "phone"
	k := r.room(alice, bob)
	r.apply(1)
	r.post(alice, k, "nobody is here")
	r.apply(1)
	r.held(bob)
	r.held(phone)
	o := r.post(alice, k, "two sockets")
	r.apply(1)
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "messaging.deliver") {
			var l map[string]any
			r.must(json.Unmarshal([]byte(line), &l))
			delete(l, "time")
			lines = append(lines, l)
		}
	}
	want := []map[string]any{{
		"level": "INFO", "msg": "message handed to sockets", "op": "messaging.deliver",
		"service": "messaging", "correlation_id": string(o.row.correlation),
		"conversation_id": k, "seq": float64(o.row.seq), "sockets": 2.0,
	}}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if kept, dropped := r.series("log_lines_kept_total")["deliver"], r.series("log_lines_dropped_total")["deliver"]; kept != 1 || dropped != 0 {
		t.Errorf("%v lines kept and %v dropped for one message", kept, dropped)
	}
}

// traced is a delivery whose line would be written, were it not sampled away.
func (r *rig) traced() *delivery {
	for range 100 { // the first of each second are kept
		r.s.obs.Sample(obs.SiteDeliver)
	}
	return &delivery{envelope: &bus.Envelope{Type: typeMessage, Key: "k", Seq: 1, Correlation: "test-123"}, sockets: 3}
}

func TestALineThatIsDroppedIsNotBuilt(t *testing.T) {
	r := single(t)
	d, ctx := r.traced(), cause()
	if n := testing.AllocsPerRun(1000, func() { r.s.hub.trace(ctx, d) }); n != 0 {
		t.Errorf("%v allocations for a line that is dropped", n)
	}
}

func BenchmarkTraceDropped(b *testing.B) {
	r := newRig(b, b.TempDir())
	defer r.stop()
	d, ctx := r.traced(), cause()
	b.ReportAllocs()
	for b.Loop() {
		r.s.hub.trace(ctx, d)
	}
}

// TestWhatWasQueuedIsCountedUnderTheReason: for every way in which a socket can
// end with a message on its queue.
func TestWhatWasQueuedIsCountedUnderTheReason(t *testing.T) {
	r := single(t)
	queued := []*ws.Frame{liveFrame, messageFrame("c", []byte(`{}`), time.Now()), messageFrame("c", []byte(`{}`), time.Now())}
	for why := obs.CloseReason(0); why.String() != ""; why++ {
		want := obs.DeliveryClosed
		switch why {
		case obs.CloseSlow:
			want = obs.DeliverySlow
		case obs.CloseGone, obs.ClosePing:
			want = obs.DeliveryWrite
		default:
		}
		so, c := r.connect(somebody("d"))
		expected := maps.Clone(r.series("message_delivery_failures_total"))
		expected[want.String()] += 2
		so.closed(why, queued)
		if diff := cmp.Diff(expected, r.series("message_delivery_failures_total")); diff != "" {
			t.Errorf("%v: %s", why, diff)
		}
		c.Drop()
	}
}

// TestABrokenConnectionIsCountedAsAFailedWrite: a message is queued, and before
// it is written the client is gone.
func TestABrokenConnectionIsCountedAsAFailedWrite(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	r.room(alice, bob)
	failed := obs.DeliveryWrite.String()
	for range 5 { // the sweeper may come in between and have it written
		so, c := r.connect(bob)
		before := r.series("message_delivery_failures_total")
		if !so.conn.Queue(messageFrame("c", []byte(`{}`), time.Now())) { // and nobody is woken to write it
			t.Fatal("the socket takes nothing")
		}
		c.Drop()
		moved := func() bool { return !maps.Equal(before, r.series("message_delivery_failures_total")) }
		for end := time.Now().Add(time.Second); !moved() && time.Now().Before(end); {
			r.must(pause(cause(), time.Millisecond))
		}
		if r.series("message_delivery_failures_total")[failed] == before[failed]+1 {
			return
		}
	}
	t.Errorf("no message counts as %s: %v", failed, r.series("message_delivery_failures_total"))
}
