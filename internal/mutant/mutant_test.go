package mutant_test

import (
	"go/build"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/mutant"
)

func TestANormalBuildIsNoMutant(t *testing.T) {
	if mutant.Name != "" || mutant.AckBeforeCommit || mutant.RevokeOneNode {
		t.Errorf("without tags this is the mutant %q", mutant.Name)
	}
}

// TestEveryDefectHasOneBuild judges each file that names a mutant: it is built
// with its own tag and "mutant", and with neither of them alone.
func TestEveryDefectHasOneBuild(t *testing.T) {
	defects, err := os.ReadFile("defects.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, file := range files {
		tag := strings.TrimSuffix(file, ".go")
		switch {
		case strings.HasSuffix(file, "_test.go"), tag == "doc", tag == "defects", tag == "none":
			continue
		}
		named++
		for tags, want := range map[string]bool{"": false, "mutant": false, tag: false, "mutant," + tag: true} {
			c := build.Default
			c.BuildTags = strings.Split(tags, ",")
			if in, err := c.MatchFile(".", file); err != nil || in != want {
				t.Errorf("%s with the tags %q: built %v, %v", file, tags, in, err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `const Name = "`+tag+`"`) || strings.Count(string(defects), `"`+tag+`"`) != 1 {
			t.Errorf("%s: the mutant, its tag and its constant have one name", file)
		}
	}
	if n := strings.Count(string(defects), "Name == "); n != named {
		t.Errorf("%d defects are named, and %d files name one", n, named)
	}
}
