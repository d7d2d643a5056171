package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/history"
)

// TestEveryMutantIsPlayed compares the list with the files of internal/mutant.
func TestEveryMutantIsPlayed(t *testing.T) {
	files, err := filepath.Glob("../../internal/mutant/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var built, listed []string
	for _, file := range files {
		tag := strings.TrimSuffix(filepath.Base(file), ".go")
		if !slices.Contains([]string{"doc", "defects", "none", "mutant_test"}, tag) {
			built = append(built, tag)
		}
	}
	for _, m := range mutants {
		listed = append(listed, m.tag)
		for _, name := range m.named {
			if !slices.Contains(history.Names(), name) {
				t.Errorf("%s is to be found by %s, which is no invariant", m.tag, name)
			}
		}
	}
	slices.Sort(built)
	slices.Sort(listed)
	if !slices.Equal(built, listed) {
		t.Errorf("there are the mutants %v, and %v are listed", built, listed)
	}
}

func TestOnlyADeclaredInvariantCounts(t *testing.T) {
	loss := mutant{tag: "loss", named: []string{"I1", "I4"}}
	for text, c := range map[string]struct {
		m    mutant
		said verdict
		want bool
	}{
		"one of those declared":      {loss, verdict{Broken: []string{"readiness", "I4"}}, true},
		"another one":                {loss, verdict{Broken: []string{"I8"}}, false},
		"a figure":                   {loss, verdict{Broken: []string{"readiness"}}, false},
		"nothing":                    {loss, verdict{}, false},
		"a harmless one":             {mutant{}, verdict{Broken: []string{"readiness"}}, true},
		"a harmless one that is not": {mutant{}, verdict{Broken: []string{"I8"}}, false},
		"a harmless one not judged":  {mutant{}, verdict{NotJudged: []string{"I13"}}, false},
	} {
		if got := c.said.of(c.m).good(); got != c.want {
			t.Errorf("%s: good is %t", text, got)
		}
	}
}
