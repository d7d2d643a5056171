package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/sqldb"
)

func TestASinkGetsItsTypes(t *testing.T) {
	all, some := newRecorder("all"), newRecorder("some", "message.sent", "user.registered")
	p := single(t, outbox.Config{Sinks: []outbox.Sink{all.sink(), some.sink()}, Derived: messages()})
	p.emit(event("e1"))
	p.emitMessages(message("m2"), message("m3"))
	p.emit(event("e4"), bus.Envelope{ID: "u5", Type: "user.registered"})
	all.want(t, "e1", "m2", "m3", "e4", "u5")
	some.want(t, "m2", "m3", "u5")
}

func TestASinkThatFailsHoldsUpNoOther(t *testing.T) {
	good, bad := newRecorder("good"), newRecorder("bad")
	bad.answer(errors.New("broken on purpose"))
	p := single(t, outbox.Config{Sinks: []outbox.Sink{bad.sink(), good.sink()}})
	var want []string
	for i := range 5 {
		p.emit(event(fmt.Sprint("e", i)))
		want = append(want, fmt.Sprint("e", i))
		good.want(t, want...)
	}
	bad.called(t, 2)
	if left := p.ob.Left(); left != 5 {
		t.Errorf("%d events left, want 5", left)
	}
	p.wantMetric(`outbox_unpublished_events{service="messaging"} 5`)
	bad.answer(nil)
	bad.want(t, want...)
	p.drain()
	if left := p.ob.Left(); left != 0 {
		t.Errorf("%d events left after the drain", left)
	}
	p.wantMetric(`outbox_unpublished_events{service="messaging"} 0`)
}

func (p *process) drain() {
	p.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.ob.Drain(ctx); err != nil {
		p.Fatal(err)
	}
}

func TestASinkThatPanicsIsCalledAgain(t *testing.T) {
	sink, broken := newRecorder("all"), true
	s := sink.sink()
	s.Publish = func(ctx context.Context, batch []bus.Envelope) error {
		if broken {
			broken = false
			panic("broken on purpose")
		}
		return sink.publish(ctx, batch)
	}
	p := single(t, outbox.Config{Sinks: []outbox.Sink{s}})
	p.emit(event("e1"))
	sink.want(t, "e1")
	p.wantMetric(`panics_total{site="event"} 1`)
}

// A position that was taken and not used, as after a commit of unknown outcome,
// must not hold up what follows.
func TestAHoleIsPassed(t *testing.T) {
	sink := newRecorder("all")
	p := single(t, outbox.Config{Sinks: []outbox.Sink{sink.sink()}, Derived: messages()})
	p.emit(event("e1"))
	p.take(3)
	p.emitMessages(message("m5"))
	p.take(1)
	p.emit(event("e7"))
	sink.want(t, "e1", "m5", "e7")
	p.take(2)
	p.drain()
	if n := p.count(`SELECT pos FROM outbox_cursors`); n != 9 {
		t.Errorf("the cursor stands at %d, want 9", n)
	}
}

func (p *process) take(n int) {
	p.Helper()
	err := p.db.Write(context.Background(), "test.take", func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := p.ob.Take(ctx, tx, n)
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
}

// What another process commits to the same database is found without a hand-over.
func TestAnotherProcessIsRelayed(t *testing.T) {
	sink, dir := newRecorder("all"), t.TempDir()
	p := begin(t, dir, outbox.Config{Sinks: []outbox.Sink{sink.sink()}})
	t.Cleanup(p.stop)
	other := load(t, dir, outbox.Config{})
	other.emit(event("e1"), event("e2"))
	other.stop()
	sink.want(t, "e1", "e2")
	p.emit(event("e3"))
	sink.want(t, "e1", "e2", "e3")
}

// A sink that is far behind finds that memory has let go of what it needs.
func TestAnOverflowFallsBackToTheDatabase(t *testing.T) {
	fast, slow := newRecorder("fast"), newRecorder("slow")
	slow.answer(errors.New("broken on purpose"))
	p := single(t, outbox.Config{Sinks: []outbox.Sink{slow.sink(), fast.sink()}, Derived: messages()})
	const total, each = 70_000, 2_000
	for i := 0; i < total; i += each {
		if i%(10*each) == 0 {
			p.emit(named(i+1, i+each, event)...)
		} else {
			p.emitMessages(named(i+1, i+each, message)...)
		}
	}
	fast.until(t, "all", func() bool { return len(fast.order) == total })
	slow.answer(nil)
	slow.until(t, "all", func() bool { return len(slow.order) == total })
	for _, r := range []*recorder{fast, slow} {
		for i, id := range r.ids() {
			if id != fmt.Sprint("e", i+1) {
				t.Fatalf("%s: event %d is %s", r.name, i+1, id)
			}
		}
	}
}

func TestDrainSaysWhatIsLeftAndSavesTheRest(t *testing.T) {
	good, bad := newRecorder("good"), newRecorder("bad")
	p := single(t, outbox.Config{Sinks: []outbox.Sink{good.sink(), bad.sink()}})
	p.emit(event("e1"))
	p.drain()
	bad.answer(fault.New(fault.CodeUnavailable, "on purpose"))
	p.emit(event("e2"), event("e3"))
	good.want(t, "e1", "e2", "e3")
	bad.called(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.ob.Drain(ctx); !fault.Is(err, fault.CodeTimeout) && !fault.Is(err, fault.CodeCanceled) {
		t.Errorf("a drain that was cut off gave %v", err)
	}
	if p.ob.Left() != 2 {
		t.Errorf("%d events left, want 2", p.ob.Left())
	}
	for sink, want := range map[string]int{"good": 3, "bad": 1} {
		if got := p.count(`SELECT pos FROM outbox_cursors WHERE sink = $1`, sink); got != want {
			t.Errorf("the saved cursor of %s stands at %d, want %d", sink, got, want)
		}
	}
	if n := p.count(`SELECT count(*) FROM outbox`); n != 2 {
		t.Errorf("%d rows are kept, want the 2 that are left", n)
	}
	bad.answer(nil)
}

func TestRowsThatEverySinkTookAreDeletedOnTheWay(t *testing.T) {
	sink := newRecorder("all")
	p := single(t, outbox.Config{Sinks: []outbox.Sink{sink.sink()}})
	p.emit(named(1, 50, event)...)
	sink.until(t, "all", func() bool { return len(sink.order) == 50 })
	p.flush()
	p.flush() // the sink has answered, but its cursor may move a moment later
	if n := p.count(`SELECT count(*) FROM outbox`); n != 0 {
		p.drain()
		p.flush()
		if n := p.count(`SELECT count(*) FROM outbox`); n != 0 {
			t.Errorf("%d rows are kept", n)
		}
	}
}

func (p *process) flush() {
	p.Helper()
	if err := p.db.Flush(context.Background()); err != nil {
		p.Fatal(err)
	}
}

func TestStartTwiceIsRefused(t *testing.T) {
	p := single(t, outbox.Config{})
	if err := p.ob.Start(context.Background()); err == nil {
		t.Error("the outbox started twice")
	}
}
