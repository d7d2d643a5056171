package messaging

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
)

func testIDs(t tester, mask string) *ids {
	t.Helper()
	m, err := newIDs(strings.Repeat(mask, 32))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestIDsLeadBackToTheirPosition(t *testing.T) {
	m, other := testIDs(t, "5a"), testIDs(t, "a5")
	rapid.Check(t, func(t *rapid.T) {
		pos := rapid.Int64Range(1, 1<<62).Draw(t, "pos")
		at := time.UnixMilli(rapid.Int64Range(0, 1<<48-1).Draw(t, "ms"))
		s := m.id(pos, at)
		back, when, ok := m.pos(s)
		if !id.Valid(s) || !ok || back != pos || !when.Equal(at) {
			t.Fatalf("%s gives %d of %v, want %d of %v", s, back, when, pos, at)
		}
		if strings.ToUpper(s) != s {
			t.Fatalf("%s may spell a lower-case word", s)
		}
		if again, _, ok := other.pos(s); ok && again == pos {
			t.Fatalf("%s shows position %d under another mask", s, pos)
		}
	})
}

func TestIDsThatWereNeverMade(t *testing.T) {
	m := testIDs(t, "5a")
	for _, s := range []string{"", "x", strings.Repeat("0", 26), strings.Repeat("Z", 26), "01arz3ndektsv4rrffq69g5fav"} {
		if pos, _, ok := m.pos(s); ok {
			t.Errorf("%q leads to %d", s, pos)
		}
	}
	found := 0
	for range 20_000 { // others' identifiers hit one time in 65,536, and then no row
		if _, _, ok := m.pos(id.New()); ok {
			found++
		}
	}
	if found > 5 {
		t.Errorf("%d of 20000 foreign identifiers lead to a position", found)
	}
	for _, mask := range []string{"", "5", strings.Repeat("zz", 32), strings.Repeat("5a", 31)} {
		if _, err := newIDs(mask); err == nil {
			t.Errorf("mask %q was accepted", mask)
		}
	}
}

// TestCursorsCannotBeForged: only the same string for the same user and list is
// accepted, under the same mask.
func TestCursorsCannotBeForged(t *testing.T) {
	m, other := testIDs(t, "5a"), testIDs(t, "a5")
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Int64().Draw(t, "at")
		user, list := rapid.StringMatching(`[A-Z]{1,8}`).Draw(t, "user"), rapid.StringMatching(`[a-z ]{1,8}`).Draw(t, "list")
		c := m.cursor(user, list, at)
		if got, err := m.parseCursor(user, list, c); err != nil || got != at {
			t.Fatalf("%s: %d, %v", c, got, err)
		}
		for i := range c {
			b := []byte(c)
			b[i] = rapid.SampledFrom([]byte("0123456789ABCDEFabcdef~/")).Filter(func(x byte) bool { return x != b[i] }).Draw(t, "byte")
			if got, err := m.parseCursor(user, list, string(b)); fault.CodeOf(err) != fault.CodeBadCursor {
				t.Fatalf("changed at %d: %d, %v", i, got, err)
			}
		}
		for what, try := range map[string]func() (int64, error){
			"shortened":    func() (int64, error) { return m.parseCursor(user, list, c[:len(c)-2]) },
			"lengthened":   func() (int64, error) { return m.parseCursor(user, list, c+"00") },
			"another's":    func() (int64, error) { return m.parseCursor(user+"X", list, c) },
			"another list": func() (int64, error) { return m.parseCursor(user, list+"x", c) },
			"split":        func() (int64, error) { return m.parseCursor(user+list[:1], list[1:], c) },
			"another mask": func() (int64, error) { return other.parseCursor(user, list, c) },
			"empty":        func() (int64, error) { return m.parseCursor(user, list, "") },
		} {
			if got, err := try(); fault.CodeOf(err) != fault.CodeBadCursor {
				t.Fatalf("%s: %d, %v", what, got, err)
			}
		}
	})
}

func TestFingerprintsTellPartsApart(t *testing.T) {
	seen := map[string][]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {"a", "b", ""}} {
		f := fingerprint(parts...)
		if other, ok := seen[f]; ok {
			t.Errorf("%q and %q look the same", parts, other)
		}
		seen[f] = parts
	}
}
