package outbox_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/outbox"
)

// life is a process's: its sinks are heard until it is dead, for what it goes on
// doing after its files were copied must not be seen.
type life struct{ dead chan struct{} }

func (l life) sink(r *recorder) outbox.Sink {
	s := r.sink()
	s.Publish = func(ctx context.Context, batch []bus.Envelope) error {
		select {
		case <-l.dead:
			return nil
		default:
			return r.publish(ctx, batch)
		}
	}
	return s
}

// crash copies the database as it is, lets the old process end unheard, and
// begins one on the copy.
func crash(t *testing.T, p *process, l life, cfg outbox.Config) *process {
	t.Helper()
	dir := t.TempDir()
	p.copyTo(dir)
	close(l.dead)
	p.stop()
	next := begin(t, dir, cfg)
	t.Cleanup(next.stop)
	return next
}

func TestACrashBringsBackEverythingUnsent(t *testing.T) {
	good, bad := newRecorder("good"), newRecorder("bad")
	l := life{make(chan struct{})}
	p := begin(t, t.TempDir(), outbox.Config{Sinks: []outbox.Sink{l.sink(good), l.sink(bad)}, Derived: messages()})
	p.emit(event("e1"))
	bad.want(t, "e1")
	bad.answer(errors.New("broken on purpose"))
	p.emitMessages(message("m2"), message("m3"))
	p.emit(event("e4"))
	good.want(t, "e1", "m2", "m3", "e4")
	bad.called(t, 1)

	after, badAfter := newRecorder("good"), newRecorder("bad")
	next := crash(t, p, l, outbox.Config{Sinks: []outbox.Sink{after.sink(), badAfter.sink()}, Derived: messages()})
	next.drain()
	// The cursors of a crash may be older than what was sent, never newer.
	badAfter.until(t, "what was not sent", func() bool { return endsWith(badAfter.order, "m2", "m3", "e4") })
	for name, r := range map[string]*recorder{"good": after, "bad": badAfter} {
		if !endsWith([]string{"e1", "m2", "m3", "e4"}, r.ids()...) {
			t.Errorf("%s got %v: not the end of what was committed", name, r.ids())
		}
	}
	if got, want := badAfter.envelope("e4"), event("e4"); got.Type != want.Type || got.Key != want.Key || got.Correlation != want.Correlation {
		t.Errorf("came back as %+v", got)
	}
	next.emit(event("e5"))
	after.until(t, "e5", func() bool { return endsWith(after.order, "e5") })
}

func endsWith(list []string, end ...string) bool {
	if len(list) < len(end) {
		return false
	}
	for i, want := range end {
		if list[len(list)-len(end)+i] != want {
			return false
		}
	}
	return true
}

func TestADrainedProcessRepeatsNothing(t *testing.T) {
	sink, dir := newRecorder("all"), t.TempDir()
	p := begin(t, dir, outbox.Config{Sinks: []outbox.Sink{sink.sink()}, Derived: messages()})
	p.emit(named(1, 10, event)...)
	p.emitMessages(message("m"))
	p.stop()
	if n := len(sink.ids()); n != 11 {
		t.Errorf("the stop drained %d of 11 events", n)
	}
	after := newRecorder("all")
	next := begin(t, dir, outbox.Config{Sinks: []outbox.Sink{after.sink()}, Derived: messages()})
	next.emit(event("e12"))
	after.want(t, "e12")
	if pos := after.envelope("e12").Pos; pos != 12 {
		t.Errorf("the next process went on with position %d, want 12", pos)
	}
	next.stop()
}

// Events that were committed before a sink was there are not lost on it.
func TestANewSinkBeginsWithTheOldest(t *testing.T) {
	sink, dir := newRecorder("old"), t.TempDir()
	p := load(t, dir, outbox.Config{})
	p.emit(event("e1"), event("e2"))
	if p.ob.Left() != 0 {
		t.Error("without sinks there is nothing to pass")
	}
	p.stop()
	next := begin(t, dir, outbox.Config{Sinks: []outbox.Sink{sink.sink()}})
	sink.want(t, "e1", "e2")
	next.stop()
}
