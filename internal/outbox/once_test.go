package outbox_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/sqldb"
)

// once asks in a write of its own, which ends with the given error.
func (p *process) once(queue obs.Queue, id string, end error) (first bool) {
	p.Helper()
	err := p.db.Write(context.Background(), "test.once", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if first, err = outbox.Once(ctx, tx, queue, id); err != nil {
			return err
		}
		return end
	})
	if fault.Is(err, fault.CodeInternal) || (end == nil && err != nil) {
		p.Fatal(err)
	}
	return first
}

func TestOnce(t *testing.T) {
	p := single(t, outbox.Config{})
	for i, c := range []struct {
		queue obs.Queue
		id    string
		end   error
		first bool
	}{
		{obs.QueueUserEvents, "a", errRefused, true},
		{obs.QueueUserEvents, "a", nil, true}, // the refused one was taken back
		{obs.QueueUserEvents, "a", nil, false},
		{obs.QueueUserEvents, "b", nil, true},
		{obs.QueueAuthEvents, "a", nil, true},
		{obs.QueueUserEvents, "a", nil, false},
	} {
		if first := p.once(c.queue, c.id, c.end); first != c.first {
			t.Errorf("%d: Once(%v, %q) is %v", i+1, c.queue, c.id, first)
		}
	}
}

func TestOnceOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	p := begin(t, dir, outbox.Config{})
	p.once(obs.QueueUserEvents, "a", nil)
	p.stop()
	next := begin(t, dir, outbox.Config{})
	if next.once(obs.QueueUserEvents, "a", nil) {
		t.Error("a repeat after a restart is taken for a first occurrence")
	}
	next.stop()
}

func TestOnceForgetsInBoundedSteps(t *testing.T) {
	p := single(t, outbox.Config{OnceFor: time.Hour})
	old, young := time.Now().Add(-2*time.Hour).UnixMilli(), time.Now().UnixMilli()
	err := p.db.Write(context.Background(), "test.fill", func(ctx context.Context, tx *sqldb.Tx) error {
		var args []any
		for i := range 1500 {
			args = append(args, "user_events", fmt.Sprint("old", i), old)
		}
		args = append(args, "user_events", "young", young)
		return tx.Insert(ctx, "consumed", []string{"queue", "id", "at_ms"}, args)
	})
	if err != nil {
		t.Fatal(err)
	}
	if left := p.count(`SELECT count(*) FROM consumed`); left != 1501-1024 { // the first step rode along already
		t.Errorf("one step left %d of 1501 rows", left)
	}
	p.flush()
	if left := p.count(`SELECT count(*) FROM consumed`); left != 1 {
		t.Errorf("two steps left %d rows", left)
	}
	if p.once(obs.QueueUserEvents, "young", nil) {
		t.Error("what is young was forgotten")
	}
}
