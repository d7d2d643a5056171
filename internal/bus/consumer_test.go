package bus_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

func (n *node) wantMetric(line string) {
	n.t.Helper()
	rec := httptest.NewRecorder()
	n.obs.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(rec.Body.String(), "\n"+line+"\n") {
		n.t.Errorf("the metrics lack %s", line)
	}
}

func TestWhatIsSetAsideIsLoggedWithItsCause(t *testing.T) {
	n := newNode(t)
	ev := n.bus.Events()
	ev.Consume(obs.QueueAuthEvents, nil, func(context.Context, bus.Envelope) error {
		return fault.New(fault.CodeConflict, "already there")
	})
	if err := ev.Publish(context.Background(), []bus.Envelope{event(7)}); err != nil {
		t.Fatal(err)
	}
	lines := n.log.lines(t, "event set aside")
	if len(lines) != 1 {
		t.Fatalf("%d lines, want 1", len(lines))
	}
	for field, want := range map[string]any{
		"level": "ERROR", "service": "auth", "correlation_id": "test-123", "type": "user.registered",
		"event_id": "e7", "code": "conflict", "queue": "auth_events", "pos": 7.0,
	} {
		if lines[0][field] != want {
			t.Errorf("%s is %v, want %v", field, lines[0][field], want)
		}
	}
	n.wantMetric(`event_failures_total{reason="refused"} 1`)
	n.wantMetric(`event_failures_total{reason="unavailable"} 0`)
	n.wantMetric(`queue_consumed_messages_total{queue="auth_events"} 1`)
}

func TestHandledEventsAreLoggedByTheConsumersService(t *testing.T) {
	n := newNode(t)
	ev := n.bus.Events()
	services := map[obs.Queue]string{obs.QueueUserEvents: "user", obs.QueueAuthEvents: "auth"}
	for q := range services {
		ev.Consume(q, nil, func(context.Context, bus.Envelope) error { return nil })
	}
	if err := ev.Publish(context.Background(), []bus.Envelope{event(1)}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, line := range n.log.lines(t, "event handled") {
		if line["correlation_id"] == "test-123" {
			seen[line["service"].(string)] = true
		}
	}
	for q, s := range services {
		if !seen[s] {
			t.Errorf("the event of queue %v is not in the log of %s with its correlation", q, s)
		}
	}
	n.wantMetric(`log_lines_uncorrelated_total 0`)
}

func TestPanicsAreCountedAndLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		tries := 0
		n.bus.Events().Consume(obs.QueueUserEvents, nil, func(context.Context, bus.Envelope) error {
			if tries++; tries == 1 {
				panic("broken on purpose")
			}
			return nil
		})
		n.bus.Fanout().Subscribe("hub", func(context.Context, []bus.Envelope) { panic("broken on purpose") })
		for _, publish := range []func(context.Context, []bus.Envelope) error{n.bus.Events().Publish, n.bus.Fanout().Publish} {
			if err := publish(context.Background(), []bus.Envelope{event(1)}); err != nil {
				t.Error(err)
			}
		}
		n.wantMetric(`panics_total{site="event"} 2`)
		n.wantMetric(`event_failures_total{reason="unavailable"} 1`)
		for _, line := range n.log.lines(t, "caught a panic") {
			if line["correlation_id"] != "test-123" || line["stack"] == nil {
				t.Errorf("line %v", line)
			}
		}
	})
}

func TestLagIsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		ev, step := n.bus.Events(), make(chan struct{})
		ev.Consume(obs.QueueUserEvents, nil, func(context.Context, bus.Envelope) error { <-step; return nil })
		done := make(chan error, 2)
		for range 2 {
			go func() { done <- ev.Publish(context.Background(), []bus.Envelope{event(1), event(2)}) }()
		}
		for _, want := range []string{"4", "3", "2", "1", "0"} {
			synctest.Wait()
			n.wantMetric(`queue_processing_lag_messages{queue="user_events"} ` + want)
			if want != "0" {
				step <- struct{}{}
			}
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func BenchmarkFanout(b *testing.B) {
	o, err := obs.New(obs.Config{})
	if err != nil {
		b.Fatal(err)
	}
	f := bus.NewMemory(o, nil).Fanout()
	f.Subscribe("none", func(context.Context, []bus.Envelope) {})
	batch := make([]bus.Envelope, 100)
	for i := range batch {
		batch[i] = event(i + 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Publish(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
}
