package process

import (
	"strings"
	"testing"
)

func TestLinesAreWholeLines(t *testing.T) {
	var seen []string
	l := &lines{each: func(s string) { seen = append(seen, s) }}
	for _, part := range []string{"on", "e\ntwo\nthr", "", "ee\nhalf"} {
		if n, err := l.Write([]byte(part)); err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	if strings.Join(seen, "|") != "one|two|three" || l.tail() != "three" || l.all() != "one\ntwo\nthree\n" {
		t.Errorf("%q, last %q", seen, l.tail())
	}
}
