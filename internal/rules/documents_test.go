package rules

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	aTest     = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(t \*testing\.T\)`)
)

// TestDocumentsNameTestsThatExist: what a document says is seen in a test must
// have that test.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	there := map[string]bool{}
	walk(t, ".go", func(_, text string) {
		for _, found := range aTest.FindAllStringSubmatch(text, -1) {
			there[found[1]] = true
		}
	})
	named := 0
	walk(t, ".md", func(path, text string) {
		for _, found := range namedTest.FindAllStringSubmatch(text, -1) {
			if named++; !there[found[1]] {
				t.Errorf("%s names %s, which there is not: say where it is seen now, or that it is not", path, found[1])
			}
		}
	})
	if named == 0 {
		t.Error("no document names a test; the search is broken")
	}
}

// walk reads the repository's files that end so.
func walk(t *testing.T, end string, fn func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, end) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			fn(path, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
