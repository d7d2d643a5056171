package outbox

import (
	"testing"

	"github.com/nova-chat/nova/internal/bus"
)

func at(positions ...int64) (list []bus.Envelope) {
	for _, pos := range positions {
		list = append(list, bus.Envelope{Pos: pos, Payload: make([]byte, 10)})
	}
	return list
}

func span(from, to int64) (list []bus.Envelope) {
	for pos := from; pos <= to; pos++ {
		list = append(list, at(pos)...)
	}
	return list
}

// wantAfter reads on from a position until nothing follows.
func wantAfter(t *testing.T, tl *tail, pos, until int64) {
	t.Helper()
	for {
		run, _ := tl.after(pos)
		if len(run) == 0 {
			break
		}
		for _, e := range run {
			if pos++; e.Pos != pos {
				t.Fatalf("position %d where %d belongs", e.Pos, pos)
			}
		}
	}
	if pos != until {
		t.Errorf("memory gave positions up to %d, want %d", pos, until)
	}
}

func TestTailIsContiguous(t *testing.T) {
	var tl tail
	wantAfter(t, &tl, 0, 0)
	tl.add(span(1, 700), true)
	wantAfter(t, &tl, 0, 700)
	tl.add(at(703, 702), true)
	wantAfter(t, &tl, 0, 700)
	if _, known := tl.after(700); known != 703 {
		t.Errorf("known is %d, want 703", known)
	}
	tl.add(at(701), true)
	wantAfter(t, &tl, 690, 703)
	wantAfter(t, &tl, 800, 800)
}

func TestTailKeepsTheLatest(t *testing.T) {
	var tl tail
	const total = 3*chunkSize*chunkCount + 100
	for pos := int64(1); pos <= total; pos += 1000 {
		tl.add(span(pos, min(pos+999, total)), true)
	}
	wantAfter(t, &tl, 5, 5)
	const oldest = total - chunkSize*chunkCount + chunkSize // at least from here
	wantAfter(t, &tl, oldest, total)
	tl.add(at(7), true) // too old for memory, and no harm to what is there
	wantAfter(t, &tl, 6, 6)
	wantAfter(t, &tl, oldest, total)
	if most := chunkSize * chunkCount * 10; tl.bytes > most {
		t.Errorf("%d bytes counted, of at most %d", tl.bytes, most)
	}
}

func TestTailIsBoundedInBytes(t *testing.T) {
	var tl tail
	big := make([]byte, 1<<20)
	for pos := int64(chunkSize); pos < 200*chunkSize; pos += chunkSize {
		tl.add([]bus.Envelope{{Pos: pos, Payload: big}}, true)
		if tl.bytes > tailBytes {
			t.Fatalf("%d bytes held", tl.bytes)
		}
	}
	wantAfter(t, &tl, 199*chunkSize-1, 199*chunkSize)
	tl.add([]bus.Envelope{{Pos: 199*chunkSize + 1, Payload: make([]byte, tailBytes)}}, true) // the newest chunk stays in any case
	wantAfter(t, &tl, 199*chunkSize-1, 199*chunkSize+1)
}

func TestTailLetsGoOfWhatIsPassed(t *testing.T) {
	var tl tail
	tl.add(span(1, 3*chunkSize), true)
	tl.release(2*chunkSize - 1)
	wantAfter(t, &tl, 2*chunkSize-1, 3*chunkSize)
	wantAfter(t, &tl, 1, 1)
	tl.release(4 * chunkSize)
	if tl.bytes != 0 {
		t.Errorf("%d bytes held when all is passed", tl.bytes)
	}
}

func TestTailKnowsWhoCommitted(t *testing.T) {
	var tl tail
	if !tl.learn(10) || tl.learn(10) || tl.learn(9) {
		t.Error("learn is true for news alone")
	}
	if first, last := tl.own(); first != 0 || last != 0 || tl.end() != 10 {
		t.Errorf("own %d to %d, known %d", first, last, tl.end())
	}
	tl.add(at(12, 11), true)
	if first, last := tl.own(); first != 11 || last != 12 || tl.end() != 12 {
		t.Errorf("own %d to %d, known %d", first, last, tl.end())
	}
}

func TestMergeIsCompleteUpToItsEnd(t *testing.T) {
	full := span(1, batchSize) // hit its limit: nothing is known past it
	for _, c := range []struct {
		name     string
		a, b     []bus.Envelope
		n        int
		last, up int64
	}{
		{"both short", at(1, 4), at(2, 7), 4, 7, 1000},
		{"nothing", nil, nil, 0, 0, 1000},
		{"derived at its limit", at(600), full, batchSize, batchSize, batchSize},
		{"together too many", span(1000, 1200), span(500, 999), batchSize, 1011, 1011},
	} {
		got, upTo := merge(c.a, c.b, 1000+200)
		want := c.up
		if want == 1000 {
			want = 1200
		}
		if len(got) != c.n || upTo != want || (c.n > 0 && got[c.n-1].Pos != c.last) {
			t.Errorf("%s: %d events up to %d", c.name, len(got), upTo)
		}
		for i := 1; i < len(got); i++ {
			if got[i].Pos <= got[i-1].Pos {
				t.Fatalf("%s: position %d after %d", c.name, got[i].Pos, got[i-1].Pos)
			}
		}
	}
}
