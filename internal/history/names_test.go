package history

import "testing"

// TestWrongSequencesCostNoMemory puts each sequence as far out as is still near.
func TestWrongSequencesCostNoMemory(t *testing.T) {
	var s spots
	at := int64(0)
	for i := range uint32(10_000) {
		at += nearby
		s.put(at, spot{line: i + 1})
	}
	s.put(-1, spot{line: 7})
	if len(s.near) > 4*nearby {
		t.Errorf("%d places are kept for 10000 sequences", len(s.near))
	}
	if got, ok := s.get(at); !ok || got.line != 10_000 {
		t.Errorf("got %+v, %v", got, ok)
	}
	if got, ok := s.get(-1); !ok || got.line != 7 {
		t.Errorf("got %+v, %v", got, ok)
	}
	if _, ok := s.get(5); ok {
		t.Error("something is where nothing was put")
	}
}
