package id

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNewIsValidUniqueAndTimeOrdered(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		s := New()
		if !Valid(s) || seen[s] {
			t.Fatalf("%q is malformed or was made before", s)
		}
		seen[s] = true
	}
	early, late := Make(time.UnixMilli(1000), [10]byte{0xff}), Make(time.UnixMilli(1001), [10]byte{})
	if early >= late {
		t.Errorf("%q should sort before %q", early, late)
	}
}

func TestSplitUndoesMake(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(0, 1<<47).Draw(t, "ms")
		var tail [10]byte
		copy(tail[:], rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(t, "tail"))
		at, back, ok := Split(Make(time.UnixMilli(ms), tail))
		if !ok || at.UnixMilli() != ms || back != tail {
			t.Fatalf("got %v %v %v, want %v %v", at.UnixMilli(), back, ok, ms, tail)
		}
	})
}

func TestValidRefuses(t *testing.T) {
	good := New()
	for _, s := range []string{
		"", good[1:], good + "0", strings.ToLower("ABCDEFGHJKMNPQRSTVWXYZ0123"), "8" + good[1:],
		good[:25] + "I", good[:25] + "é", strings.Repeat("../", 9)[:26], good[:25] + "\x00",
	} {
		if Valid(s) {
			t.Errorf("Valid(%q)", s)
		}
	}
}
