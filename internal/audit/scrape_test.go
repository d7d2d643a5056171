package audit

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const text = `# HELP a_total A.
# TYPE a_total counter
a_total 3
b{y="2",x="with \"quotes\", {braces} and spaces"} 1.5 1700000000000
c_bucket{le="+Inf",stage="s",} 4

d{reason="unknown"} NaN
`
	s, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`a_total`, `b{x="with \"quotes\", {braces} and spaces",y="2"}`, `c_bucket{le="+Inf",stage="s"}`, `d{reason="unknown"}`}
	if got := s.names(); !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if v, ok := s.value("c_bucket", "stage", "s", "le", "+Inf"); v != 4 || !ok {
		t.Error(v, ok)
	}
	if _, ok := s.value("c_bucket"); ok {
		t.Error("a series without its labels was found")
	}
	for _, bad := range []string{"", "# nothing", "<html>", `a{b} 1`, `a{b="c} 1`, `a{b="c"}`, `a one`, `{b="c"} 1`} {
		if _, err := parse([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestMedianBucket(t *testing.T) {
	state := func(a, b, c float64) scrape {
		s := scrape{}
		for le, v := range map[string]float64{"0.1": a, "1": b, "+Inf": c} {
			labels := map[string]string{"stage": "x", "le": le}
			s[seriesName("h_bucket", labels)] = sample{"h_bucket", labels, v}
		}
		return s
	}
	for _, one := range []struct {
		before, now scrape
		median      int
	}{
		{state(0, 0, 0), state(5, 5, 5), 0},
		{state(5, 5, 5), state(6, 10, 10), 1},
		{state(5, 5, 5), state(5, 6, 10), 2},
		{state(5, 5, 5), state(5, 5, 5), -1},
		{state(0, 0, 0), state(1, 2, 3), 1},
		{state(0, 0, 0), scrape{}, -1},
	} {
		if _, got := histogram(one.before, one.now, "h", "stage", "x"); got != one.median {
			t.Errorf("%v: bucket %d, want %d", one.now, got, one.median)
		}
	}
}
