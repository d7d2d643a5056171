package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/sqldb"
)

func TestEmitFillsWhatIsEmpty(t *testing.T) {
	sink := newRecorder("all")
	p := single(t, outbox.Config{Sinks: []outbox.Sink{sink.sink()}})
	given := []bus.Envelope{{Type: "a"}, {ID: "own", Type: "b", Key: "k", Seq: 3, At: time.UnixMilli(5), Correlation: "own-1", Origin: "s", Payload: []byte("x")}}
	before := slices.Clone(given)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := obs.WithTrace(obs.WithCorrelation(context.Background(), "from-ctx"), trace)
	err := p.db.Write(ctx, "test.emit", func(_ context.Context, tx *sqldb.Tx) error { return p.ob.Emit(ctx, tx, given...) })
	if err != nil {
		t.Fatal(err)
	}
	sink.until(t, "both", func() bool { return len(sink.order) == 2 })
	first, second := sink.envelope(sink.ids()[0]), sink.envelope("own")
	if !id.Valid(first.ID) || first.Correlation != "from-ctx" || first.Trace != trace || first.Pos != 1 || time.Since(first.At) > time.Minute {
		t.Errorf("filled in: %+v", first)
	}
	want := before[1]
	want.Pos = 2
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("what was given was changed: %s", diff)
	}
	if diff := cmp.Diff(before, given); diff != "" {
		t.Errorf("the caller's slice was changed: %s", diff)
	}
}

func TestEventsWithoutACauseGetOne(t *testing.T) {
	sink := newRecorder("all")
	p := single(t, outbox.Config{Sinks: []outbox.Sink{sink.sink()}})
	err := p.db.Write(context.Background(), "test.emit", func(_ context.Context, tx *sqldb.Tx) error {
		return p.ob.Emit(context.Background(), tx, bus.Envelope{ID: "x", Type: "a"})
	})
	if err != nil {
		t.Fatal(err)
	}
	sink.want(t, "x")
	if c := sink.envelope("x").Correlation; c == "" {
		t.Error("the envelope has no correlation")
	}
}

func TestMalformedEnvelopesAreADefectOfTheService(t *testing.T) {
	p := single(t, outbox.Config{})
	for _, e := range []bus.Envelope{{ID: "x"}, {ID: "x", Type: "a", Correlation: "not one"}} {
		err := p.db.Write(context.Background(), "test.emit", func(ctx context.Context, tx *sqldb.Tx) error {
			return p.ob.Emit(ctx, tx, e)
		})
		if !fault.Is(err, fault.CodeInternal) {
			t.Errorf("%+v: got %v, want internal", e, err)
		}
	}
	if n := p.count(`SELECT count(*) FROM outbox`); n != 0 {
		t.Errorf("%d rows were written", n)
	}
	err := p.db.Write(context.Background(), "test.take", func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := p.ob.Take(ctx, tx, 0)
		return err
	})
	if err == nil {
		t.Error("Take(0) was accepted")
	}
}

func TestARefusedWriteLeavesNoHoleAndPublishesNothing(t *testing.T) {
	sink := newRecorder("all")
	p := single(t, outbox.Config{Sinks: []outbox.Sink{sink.sink()}})
	p.emit(event("first"))
	err := p.db.Write(context.Background(), "test.refused", func(ctx context.Context, tx *sqldb.Tx) error {
		if err := p.ob.Emit(ctx, tx, named(1, 3, event)...); err != nil {
			return err
		}
		return errRefused
	})
	if !errors.Is(err, fault.New(fault.CodeConflict, "")) {
		t.Fatalf("got %v", err)
	}
	p.emit(event("last"))
	sink.want(t, "first", "last")
	if got := sink.envelope("last").Pos; got != 2 {
		t.Errorf("the write after a refused one took position %d, want 2", got)
	}
	if left := p.ob.Left(); left != 0 && left != 1 { // 1: the cursor moves after the sink has answered
		t.Errorf("%d events left", left)
	}
}

// Refused writes share their group commits with good ones, and their hooks and
// positions must go alone.
func TestPositionsAreDenseAndInCommitOrder(t *testing.T) {
	sink := newRecorder("all")
	p := single(t, outbox.Config{Sinks: []outbox.Sink{sink.sink()}})
	const writers, each = 16, 12
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := range each {
				err := p.db.Write(context.Background(), "test.mixed", func(ctx context.Context, tx *sqldb.Tx) error {
					name := fmt.Sprintf("w%d.%d", w, i)
					if err := p.ob.Emit(ctx, tx, event(name+"a"), event(name+"b")); err != nil {
						return err
					}
					if i%3 == 0 {
						return errRefused
					}
					return nil
				})
				if (i%3 == 0) != fault.Is(err, fault.CodeConflict) {
					t.Errorf("writer %d, write %d: %v", w, i, err)
				}
			}
		})
	}
	done.Wait()
	const committed = writers * each / 3 * 2 * 2
	sink.until(t, "all", func() bool { return len(sink.order) >= committed })
	order := sink.ids()
	if len(order) != committed {
		t.Fatalf("%d events, want %d", len(order), committed)
	}
	next := map[string]int{}
	for i, name := range order {
		if pos := sink.envelope(name).Pos; pos != int64(i+1) {
			t.Fatalf("event %d (%s) has position %d", i+1, name, pos)
		}
		var w, n int
		var letter rune
		if _, err := fmt.Sscanf(name, "w%d.%d%c", &w, &n, &letter); err != nil {
			t.Fatal(err)
		}
		if n%3 == 0 {
			t.Errorf("%s was refused and is published", name)
		}
		writer, rank := fmt.Sprint(w), 2*n+int(letter-'a')
		if rank < next[writer] {
			t.Errorf("%s came after a later one of its writer", name)
		}
		next[writer] = rank
	}
	if n := p.count(`SELECT taken FROM positions`); n != committed {
		t.Errorf("%d positions taken, want %d", n, committed)
	}
}

// A batch takes its positions first and emits derived events and rows of the
// outbox in any order; the sink sees the order of positions.
func TestABatchEmitsInAnyOrder(t *testing.T) {
	sink := newRecorder("all")
	p := single(t, outbox.Config{Sinks: []outbox.Sink{sink.sink()}, Derived: messages()})
	batch := sqldb.NewBatch(p.db, "test.batch", func(ctx context.Context, tx *sqldb.Tx, reqs []string) ([]sqldb.Result[int64], error) {
		first, err := p.ob.Take(ctx, tx, len(reqs))
		if err != nil {
			return nil, err
		}
		if err := p.ob.Emit(ctx, tx, event("after "+reqs[0])); err != nil {
			return nil, err
		}
		out := make([]sqldb.Result[int64], len(reqs))
		for i := len(reqs) - 1; i >= 0; i-- {
			e := message(reqs[i])
			e.Pos = first + int64(i)
			out[i].Value = e.Pos
			args := []any{e.Pos, e.ID, string(e.Correlation)}
			if err := tx.Insert(ctx, "messages", []string{"pos", "id", "correlation_id"}, args); err != nil {
				return nil, err
			}
			if err := p.ob.Emit(ctx, tx, e); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
	var done sync.WaitGroup
	for i := range 40 {
		done.Go(func() {
			if _, err := batch.Do(context.Background(), fmt.Sprint("m", i)); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	taken := p.count(`SELECT taken FROM positions`)
	sink.until(t, "all", func() bool { return len(sink.order) >= taken })
	for i, name := range sink.ids() {
		if pos := sink.envelope(name).Pos; pos != int64(i+1) {
			t.Fatalf("event %d (%s) has position %d", i+1, name, pos)
		}
	}
	if rows := p.count(`SELECT count(*) FROM outbox WHERE type = 'message.sent'`); rows != 0 {
		t.Errorf("%d derived events stand in the outbox", rows)
	}
}
