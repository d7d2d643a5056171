package bus

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

func newTestReader(t testing.TB) (*redisReader, *[]string) {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ids := &[]string{}
	r := newRedisReader(&Redis{obs: o, log: o.Log(obs.Process), local: newMemoryFanout(o)}, nil)
	r.local.Subscribe("test", func(_ context.Context, batch []Envelope) {
		for _, e := range batch {
			*ids = append(*ids, e.ID)
		}
	})
	return r, ids
}

// redisList encodes nested lists of strings as Redis does.
func redisList(parts ...string) string {
	out := fmt.Sprintf("*%d\r\n", len(parts))
	for _, p := range parts {
		if !strings.HasPrefix(p, "*") {
			p = fmt.Sprintf("$%d\r\n%s\r\n", len(p), p)
		}
		out += p
	}
	return out
}

func answerOf(ids ...string) string {
	var entries []string
	for i, id := range ids {
		entries = append(entries, redisList(streamID{uint64(i + 1), 0}.String(), redisList("type", "t", "event", id+"  0 0 ", "correlation_id", "c")))
	}
	return redisList(redisList("nova:fanout", redisList(entries...)))
}

// What of an answer was read counts, what was not is read again: the cursor
// never passes what was not handed out.
func TestACutAnswerMovesTheCursorAsFarAsItWasRead(t *testing.T) {
	whole := answerOf("a", "b", "c")
	for n := range len(whole) {
		r, ids := newTestReader(t)
		if err := r.take(context.Background(), []byte(whole[:n])); err == nil {
			t.Fatalf("%d of %d bytes were taken for all", n, len(whole))
		}
		if int(r.cursor.at.ms) != len(*ids) {
			t.Fatalf("with %d bytes: at %v after %v", n, r.cursor.at, *ids)
		}
	}
	r, ids := newTestReader(t)
	if err := r.take(context.Background(), []byte(whole)); err != nil || strings.Join(*ids, "") != "abc" {
		t.Errorf("%v, %v", *ids, err)
	}
	if err := r.take(context.Background(), []byte("*-1\r\n")); err != nil {
		t.Errorf("nothing new: %v", err)
	}
}

func FuzzRedisReply(f *testing.F) {
	for _, s := range []string{answerOf("a", "b"), "*-1\r\n", "*1\r\n*2\r\n$1\r\nx\r\n*-1\r\n", "*99999999\r\n", "*1\r\n$-1\r\n", "-ERR x\r\n", "*1\r\n*2\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*3\r\n$1\r\na\r\n"} {
		f.Add([]byte(s))
	}
	r, ids := newTestReader(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		*ids = nil
		_ = r.take(context.Background(), raw)
		for _, id := range *ids {
			if !strings.Contains(string(raw), id) && !strings.Contains(unescaped(raw), id) {
				t.Errorf("made up %q", id)
			}
		}
	})
}

var escape = regexp.MustCompile("%[0-9a-fA-F]{2}")

// unescaped is what was read, with what an event may hold escaped.
func unescaped(raw []byte) string {
	return escape.ReplaceAllStringFunc(string(raw), func(s string) string {
		b, _ := hex.DecodeString(s[1:])
		return string(b)
	})
}

// What an envelope's texts hold does not matter, also to the spaces between them.
func TestEventsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ %a-f0-9]*`), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		sent := Envelope{
			ID: text.Draw(t, "id"), Key: text.Draw(t, "key"), Origin: text.Draw(t, "origin"),
			Seq: rapid.Int64Min(0).Draw(t, "seq"), At: time.UnixMicro(rapid.Int64().Draw(t, "at")),
		}
		var got Envelope
		later := rapid.SampledFrom([]string{"", " and", " and more"}).Draw(t, "of a later version")
		if !got.readEvent(string(appendEvent(nil, &sent)) + later) {
			t.Fatal("not read")
		}
		if diff := cmp.Diff(sent, got); diff != "" {
			t.Errorf("(-sent +got):\n%s", diff)
		}
	})
}

func TestCursor(t *testing.T) {
	id := func(n int) streamID { return streamID{uint64(n), 0} }
	for _, c := range []struct {
		name  string
		start bounds
		read  int // up to here; 0 = nothing
		now   bounds
		gap   bool
		at    int
	}{
		{name: "nothing happened", start: bounds{id(1), id(5), false}, now: bounds{id(1), id(5), false}, at: 5},
		{name: "read on", start: bounds{id(1), id(5), false}, read: 9, now: bounds{id(1), id(9), false}, at: 9},
		{name: "trimmed behind", start: bounds{id(1), id(5), false}, read: 9, now: bounds{id(4), id(9), true}, at: 9},
		{name: "trimmed past", start: bounds{id(1), id(5), false}, now: bounds{id(6), id(9), true}, gap: true, at: 5},
		{name: "trimmed past and read", start: bounds{id(1), id(5), false}, read: 9, now: bounds{id(7), id(9), true}, gap: true, at: 9},
		{name: "emptied", start: bounds{id(1), id(5), false}, now: bounds{}, gap: true, at: 0},
		{name: "emptied and filled above", start: bounds{id(1), id(5), false}, now: bounds{id(8), id(9), false}, gap: true, at: 5},
		{name: "emptied and filled below", start: bounds{id(1), id(5), false}, now: bounds{id(2), id(3), false}, gap: true, at: 0},
		{name: "the first entries of all", read: 9, now: bounds{id(8), id(9), false}, at: 9},
		{name: "trimmed from the first on", now: bounds{id(8), id(9), true}, gap: true, at: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cur cursor
			cur.place(c.start)
			if c.read > 0 {
				cur.move(id(c.read))
			}
			if gap := cur.lost(c.now); gap != c.gap || cur.at != id(c.at) {
				t.Errorf("gap %v at %v, want %v at %d", gap, cur.at, c.gap, c.at)
			}
			if cur.lost(c.now) {
				t.Error("the same gap is told twice")
			}
		})
	}
}

// A batch whose publisher has gone is left out of the round trip, and nobody may
// take that for a success.
func TestWhatNobodyWaitsForIsNotPublished(t *testing.T) {
	w := newRedisWriter(&Redis{}, nil)
	late := &writeJob{done: make(chan error, 1), end: time.Now().Add(-time.Millisecond)}
	hint := &writeJob{end: late.end}
	w.take(late)
	w.take(hint)
	if err := <-late.done; !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("got %v", err)
	}
	if len(w.all) != 1 || w.all[0] != hint {
		t.Errorf("%d batches go out, want the hints alone", len(w.all))
	}
}
