package outbox_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
)

// neighbour is one of several processes on a database: an outbox and a group of
// its own, beside the process that has the database open.
type neighbour struct {
	*process
	group *run.Group
	ob    *outbox.Outbox
	saw   *recorder
}

func (p *process) neighbour(cfg outbox.Config) *neighbour {
	p.Helper()
	n := &neighbour{process: p, group: run.New(p.obs), saw: newRecorder("follow")}
	cfg.Service = obs.Messaging
	cfg.Follow = func(ctx context.Context, batch []bus.Envelope) { _ = n.saw.sink().Publish(ctx, batch) }
	n.ob = outbox.New(p.obs, n.group, p.db, cfg)
	n.ob.Share()
	return n
}

func (n *neighbour) start() {
	n.Helper()
	if err := n.ob.Start(context.Background()); err != nil {
		n.Fatal(err)
	}
}

func (n *neighbour) stop() {
	n.Helper()
	if r := n.group.Stop(context.Background()); r.Err() != nil || r.GoroutinesLeft != 0 {
		n.Errorf("stop: %v, left %v", r.Err(), r.Left)
	}
}

func (n *neighbour) emit(events ...bus.Envelope) {
	n.Helper()
	err := n.db.Write(context.Background(), "test.emit", func(ctx context.Context, tx *sqldb.Tx) error {
		return n.ob.Emit(ctx, tx, events...)
	})
	if err != nil {
		n.Fatal(err)
	}
}

// wantAll checks that a recorder has the events 1 to last in this order.
func wantAll(t *testing.T, r *recorder, last int) {
	t.Helper()
	r.until(t, fmt.Sprint(last, " events"), func() bool { return len(r.order) >= last })
	for i, name := range r.ids() {
		if got := r.envelope(name).Pos; got != int64(i+1) {
			t.Fatalf("event %d is %s at position %d", i+1, name, got)
		}
	}
}

// TestOneProcessRelays: of several processes one relays, whoever committed, and
// another goes on where it stopped.
func TestOneProcessRelays(t *testing.T) {
	p := load(t, t.TempDir(), outbox.Config{})
	t.Cleanup(p.stop)
	both := newRecorder("all")
	var mu sync.Mutex
	relayed := map[string]int{}
	by := func(who string) []outbox.Sink {
		s := both.sink()
		publish := s.Publish
		s.Publish = func(ctx context.Context, batch []bus.Envelope) error {
			mu.Lock()
			relayed[who] += len(batch)
			mu.Unlock()
			return publish(ctx, batch)
		}
		return []outbox.Sink{s}
	}
	a, b := p.neighbour(outbox.Config{Sinks: by("a")}), p.neighbour(outbox.Config{Sinks: by("b")})
	a.start()
	a.emit(event("e1"))
	both.want(t, "e1") // so a holds the lease
	b.start()
	for i := 2; i <= 40; i += 2 {
		b.emit(event(fmt.Sprint("e", i)))
		a.emit(event(fmt.Sprint("e", i+1)))
	}
	wantAll(t, both, 41)
	wantAll(t, a.saw, 41)
	mu.Lock()
	if relayed["b"] != 0 {
		t.Errorf("both relayed: %v", relayed)
	}
	mu.Unlock()
	a.stop()
	if left := a.ob.Left(); left != 0 {
		t.Errorf("a left %d", left)
	}
	b.emit(event("e42"))
	wantAll(t, both, 42)
	b.stop()
}

// TestADrainEndsWhileOthersGoOn: a process that ends relays what was committed
// when it was told to, and leaves to others what they commit after that.
func TestADrainEndsWhileOthersGoOn(t *testing.T) {
	p := load(t, t.TempDir(), outbox.Config{})
	t.Cleanup(p.stop)
	var n *neighbour
	var relayed atomic.Int64
	var quiet atomic.Bool
	hear := func(pos int64) {
		e := event(fmt.Sprint("e", pos))
		e.Pos = pos
		n.ob.Hear([]bus.Envelope{e})
	}
	n = p.neighbour(outbox.Config{Sinks: []outbox.Sink{{Name: "all", Publish: func(_ context.Context, batch []bus.Envelope) error {
		last := batch[len(batch)-1].Pos
		if relayed.Store(last); !quiet.Load() {
			hear(last + 1) // so there is always one more
			<-time.After(time.Millisecond)
		}
		return nil
	}}}})
	n.start()
	hear(1)
	n.saw.until(t, "the relay", func() bool { return relayed.Load() > 10 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.ob.Drain(ctx); err != nil {
		t.Error(err)
	}
	quiet.Store(true)
	n.stop()
}

// BenchmarkBacklog is what 40,960 events that wait in the database take a process
// that starts, alone on it or as one of several. What several wait for because it
// may be on its way lies there since long, so both should take the same.
func BenchmarkBacklog(b *testing.B) {
	const all, each = 40_960, 2_048
	for name, share := range map[string]func(*outbox.Outbox){"alone": func(*outbox.Outbox) {}, "shared": (*outbox.Outbox).Share} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				p := load(b, b.TempDir(), outbox.Config{})
				for i := 1; i < all; i += each {
					p.emit(named(i, i+each-1, event)...)
				}
				seen := newRecorder("all")
				g := run.New(p.obs)
				ob := outbox.New(p.obs, g, p.db, outbox.Config{Service: obs.Messaging, Sinks: []outbox.Sink{seen.sink()}})
				share(ob)
				b.StartTimer()
				if err := ob.Start(b.Context()); err != nil {
					b.Fatal(err)
				}
				seen.until(b, "the backlog", func() bool { return len(seen.order) >= all })
				b.StopTimer()
				if r := g.Stop(context.Background()); r.Err() != nil {
					b.Error(r.Err())
				}
				p.stop()
			}
		})
	}
}

// TestALostProcessIsReplaced: a process that goes without a word keeps the lease
// until that ends, and nothing it committed is forgotten.
func TestALostProcessIsReplaced(t *testing.T) {
	p := load(t, t.TempDir(), outbox.Config{})
	t.Cleanup(p.stop)
	p.emit(named(1, 5, event)...) // it is told nobody: p relays nothing
	err := p.db.Write(context.Background(), "test.lease", func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO outbox_lease (id, owner, until_ms) VALUES (1, 'lost', $1)`, time.Now().Add(2*time.Second).UnixMilli())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sink := newRecorder("all")
	b := p.neighbour(outbox.Config{Sinks: []outbox.Sink{sink.sink()}})
	b.start()
	if b.ob.Leads() {
		t.Error("two lead")
	}
	wantAll(t, sink, 5)
	b.stop()
}

// TestFollowersHearOrRead: what others commit arrives in order, told in any
// order, in part or not at all.
func TestFollowersHearOrRead(t *testing.T) {
	for name, hear := range map[string]func(b *neighbour, batch []bus.Envelope){
		"told":     func(b *neighbour, batch []bus.Envelope) { b.ob.Hear(batch) },
		"not told": func(*neighbour, []bus.Envelope) {},
		"in part": func(b *neighbour, batch []bus.Envelope) {
			for i := range batch {
				if batch[i].Pos%3 != 0 {
					b.ob.Hear(batch[i : i+1])
				}
			}
		},
		"backwards and twice": func(b *neighbour, batch []bus.Envelope) {
			for _, e := range slices.Backward(batch) {
				b.ob.Hear([]bus.Envelope{e})
				b.ob.Hear([]bus.Envelope{e})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, t.TempDir(), outbox.Config{})
			t.Cleanup(p.stop)
			var b *neighbour
			a := p.neighbour(outbox.Config{Sinks: []outbox.Sink{newRecorder("all").sink()}, Tell: func(_ context.Context, batch []bus.Envelope) error {
				hear(b, batch)
				return nil
			}})
			b = p.neighbour(outbox.Config{})
			a.start()
			b.start()
			for i := range 20 {
				a.emit(named(10*i+1, 10*i+10, event)...)
				if i%4 == 3 {
					b.emit(event(fmt.Sprint("own", i)))
				}
			}
			wantAll(t, b.saw, 205)
			wantAll(t, a.saw, 205)
			a.stop()
			b.stop()
		})
	}
}

// TestWhatIsHeardIsNotRead: the database of this test holds nothing, so what a
// follower gets can only be what it heard, in order and once.
func TestWhatIsHeardIsNotRead(t *testing.T) {
	p := load(t, t.TempDir(), outbox.Config{})
	t.Cleanup(p.stop)
	n := p.neighbour(outbox.Config{})
	n.start()
	heard := named(1, 3, event)
	for i := range heard {
		heard[i].Pos = int64(i + 1)
	}
	n.ob.Hear(heard[1:2])
	n.ob.Hear(heard[:1])
	n.ob.Hear(heard)
	wantAll(t, n.saw, 3)
	n.stop()
}

// TestAnOutageIsToldOnce: others that cannot be told leave one line when that
// begins and one when it is over, however much is committed meanwhile.
func TestAnOutageIsToldOnce(t *testing.T) {
	p := load(t, t.TempDir(), outbox.Config{})
	t.Cleanup(p.stop)
	told := newRecorder("told")
	told.answer(errRefused)
	n := p.neighbour(outbox.Config{Tell: told.sink().Publish})
	n.start()
	for i := 1; i <= 5; i++ {
		n.emit(event(fmt.Sprint("e", i)))
		told.until(t, "a try", func() bool { return told.calls >= i })
	}
	told.answer(nil)
	n.emit(event("e6"))
	told.want(t, "e6")
	n.stop()
	p.wantMetric(`event_failures_total{reason="unavailable"} 5`)
	for text, want := range map[string]int{"others cannot be told": 1, "others are told again": 1} {
		if got := strings.Count(p.log.String(), text); got != want {
			t.Errorf("%d lines say %q, want %d", got, text, want)
		}
	}
}
