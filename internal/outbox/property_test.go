package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/sqldb"
)

// world is a database, its processes one after the other, two sinks that live on,
// and the list of what was committed.
type world struct {
	t         *rapid.T
	base      string // folder for the databases
	n         int    // databases and events made
	p         *process
	life      life
	all, some *recorder
	committed []bus.Envelope
}

func (w *world) number() int { w.n++; return w.n }

func (w *world) config() outbox.Config {
	return outbox.Config{Sinks: []outbox.Sink{w.life.sink(w.all), w.life.sink(w.some)}, Derived: messages()}
}

func (w *world) folder() string {
	dir := fmt.Sprintf("%s/%d", w.base, w.number())
	if err := os.Mkdir(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func (w *world) start(dir string) {
	w.life = life{make(chan struct{})}
	w.p = begin(w.t, dir, w.config())
}

// events makes one to four, of both kinds.
func (w *world) events() (list []bus.Envelope) {
	for range rapid.IntRange(1, 4).Draw(w.t, "events") {
		id := fmt.Sprint("e", w.number())
		if rapid.Bool().Draw(w.t, "derived") {
			list = append(list, message(id))
		} else {
			list = append(list, event(id))
		}
	}
	return list
}

// write commits or refuses events; their positions may leave a hole before them,
// and they may be emitted in the wrong order.
func (w *world) write(refuse bool) {
	list := w.events()
	hole := rapid.IntRange(0, 1).Draw(w.t, "hole")
	reverse := rapid.Bool().Draw(w.t, "reverse")
	err := w.p.db.Write(context.Background(), "test.world", func(ctx context.Context, tx *sqldb.Tx) error {
		if err := w.emit(ctx, tx, list, hole, reverse); err != nil || !refuse {
			return err
		}
		return errRefused
	})
	switch {
	case refuse != errors.Is(err, errRefused):
		w.t.Fatalf("write gave %v", err)
	case !refuse:
		w.committed = append(w.committed, list...)
	}
}

func (w *world) emit(ctx context.Context, tx *sqldb.Tx, list []bus.Envelope, hole int, reverse bool) error {
	first, err := w.p.ob.Take(ctx, tx, len(list)+hole)
	if err != nil {
		return err
	}
	emitted := make([]bus.Envelope, len(list))
	for i := range list {
		list[i].Pos = first + int64(hole+i)
		if list[i].Type == "message.sent" {
			args := []any{list[i].Pos, list[i].ID, string(list[i].Correlation)}
			if err := tx.Insert(ctx, "messages", []string{"pos", "id", "correlation_id"}, args); err != nil {
				return err
			}
		}
		emitted[i] = list[i]
	}
	if reverse {
		slices.Reverse(emitted)
	}
	return w.p.ob.Emit(ctx, tx, emitted...)
}

func (w *world) toggle(r *recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse == nil {
		r.refuse = errors.New("broken on purpose")
	} else {
		r.refuse = nil
	}
}

// kill goes on with a copy of the files.
func (w *world) kill() {
	dir := w.folder()
	w.p.copyTo(dir)
	close(w.life.dead)
	w.p.stop()
	w.start(dir)
}

// restart goes on after an orderly stop, for which the sinks must work.
func (w *world) restart() {
	w.all.answer(nil)
	w.some.answer(nil)
	dir := w.p.dir
	w.p.stop()
	w.start(dir)
}

// settle lets all arrive and compares.
func (w *world) settle() {
	w.all.answer(nil)
	w.some.answer(nil)
	var wanted []bus.Envelope
	for _, e := range w.committed {
		if e.Type == "message.sent" {
			wanted = append(wanted, e)
		}
	}
	w.all.want(w.t, ids(w.committed)...)
	w.some.want(w.t, ids(wanted)...)
	for _, e := range w.committed {
		if got := w.all.envelope(e.ID); got.Pos != e.Pos || got.Type != e.Type || got.Correlation != e.Correlation {
			w.t.Fatalf("committed %+v, arrived %+v", e, got)
		}
	}
	w.p.drain()
	if left := w.p.ob.Left(); left != 0 {
		w.t.Fatalf("%d events left", left)
	}
}

// Whatever is committed, refused, broken or killed in whatever order: each sink
// gets each committed event of its types, first occurrences in the order of
// positions, and nothing else.
func TestNothingIsLostOrReordered(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: rt, base: t.TempDir(), all: newRecorder("all"), some: newRecorder("some", "message.sent")}
		w.start(w.folder())
		defer func() { w.p.stop() }()
		rt.Repeat(map[string]func(*rapid.T){
			"commit":     func(*rapid.T) { w.write(false) },
			"refuse":     func(*rapid.T) { w.write(true) },
			"break all":  func(*rapid.T) { w.toggle(w.all) },
			"break some": func(*rapid.T) { w.toggle(w.some) },
			"kill":       func(*rapid.T) { w.kill() },
			"restart":    func(*rapid.T) { w.restart() },
			"ride":       func(*rapid.T) { w.p.flush() },
		})
		w.settle()
	})
}
