package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// eachFile parses every hand-written file that is not a test.
func eachFile(t *testing.T, fn func(p *pkg, name string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			if strings.HasSuffix(name, ".pb.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			fn(&p, name, fset, f)
		}
	}
}

func TestGoStatementsAreInRun(t *testing.T) {
	eachFile(t, func(p *pkg, name string, fset *token.FileSet, f *ast.File) {
		if p.short() == "internal/run" || p.short() == "test/servers" { // what serves tests alone is exempt, as tests are
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s/%s:%d: a bare go statement: start goroutines with run.Group, which names, counts, recovers and stops them", p.short(), name, fset.Position(g.Pos()).Line)
			}
			return true
		})
	})
}

// revealers are the packages that may take a secret out of its wrapping, since
// they hand it to whoever needs the plain value.
var revealers = []string{"internal/obs", "internal/auth", "internal/token", "internal/sqldb", "internal/bus", "internal/config", "internal/web", "internal/app", "internal/load", "internal/audit", "cmd/nova"}

func TestSecretsAreRevealedInFewPlaces(t *testing.T) {
	eachFile(t, func(p *pkg, name string, fset *token.FileSet, f *ast.File) {
		if slices.Contains(revealers, p.short()) {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Reveal" {
				t.Errorf("%s/%s:%d: Secret.Reveal: only %v may see plain secrets", p.short(), name, fset.Position(s.Pos()).Line, revealers)
			}
			return true
		})
	})
}

// mutated are the files in which a build tag may plant a defect.
var mutated = []string{
	"internal/app/admin.go", "internal/app/app.go", "internal/app/identities.go", "internal/app/revocations.go",
	"internal/bus/consumer.go", "internal/bus/kafka_partition.go", "internal/bus/redis_reader.go",
	"internal/messaging/append.go", "internal/messaging/catchup.go", "internal/messaging/hub.go", "internal/messaging/ids.go", "internal/messaging/store.go",
	"internal/outbox/emit.go", "internal/outbox/relay.go",
	"internal/sqldb/group.go", "internal/sqldb/writer.go",
}

func TestMutantsAreInFewPlaces(t *testing.T) {
	eachFile(t, func(p *pkg, name string, _ *token.FileSet, f *ast.File) {
		for _, imp := range f.Imports {
			if imp.Path.Value == `"`+module+`/internal/mutant"` && !slices.Contains(mutated, p.short()+"/"+name) {
				t.Errorf("%s/%s imports mutant: defects are planted in few places, each known to this test, and nowhere is a mutant asked for anything else", p.short(), name)
			}
		}
	})
}

// exits are the calls that end the process or print past the logger.
var exits = map[string]string{
	"os.Exit":     "exit once, in main: everything else returns an error",
	"fmt.Println": "print through the logger, or to a writer that was handed in",
	"fmt.Printf":  "print through the logger, or to a writer that was handed in",
	"fmt.Print":   "print through the logger, or to a writer that was handed in",
	"time.Sleep":  "wait for what you wait for: sleeping cannot be cancelled",
}

func TestNobodyExitsPrintsOrSleeps(t *testing.T) {
	eachFile(t, func(p *pkg, name string, fset *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := s.X.(*ast.Ident)
			if !ok {
				return true
			}
			reason, bad := exits[x.Name+"."+s.Sel.Name]
			if bad && (p.Name != "main" || x.Name != "os") {
				t.Errorf("%s/%s:%d: %s.%s: %s", p.short(), name, fset.Position(s.Pos()).Line, x.Name, s.Sel.Name, reason)
			}
			return true
		})
	})
}

func TestNoInitFunctions(t *testing.T) {
	eachFile(t, func(p *pkg, name string, fset *token.FileSet, f *ast.File) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s/%s:%d: init: what happens before main cannot be tested, ordered or refused", p.short(), name, fset.Position(fn.Pos()).Line)
			}
		}
	})
}

const (
	maxFile     = 600 // lines
	maxFunction = 100 // lines
	maxParams   = 5   // beside the context
)

func TestFilesAndFunctionsStaySmall(t *testing.T) {
	eachFile(t, func(p *pkg, name string, fset *token.FileSet, f *ast.File) {
		if n := fset.Position(f.End()).Line; n > maxFile {
			t.Errorf("%s/%s has %d lines, at most %d: is it still one subject?", p.short(), name, n, maxFile)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			begin, end := fset.Position(fn.Pos()).Line, fset.Position(fn.End()).Line
			if end-begin > maxFunction {
				t.Errorf("%s/%s:%d: %s has %d lines, at most %d", p.short(), name, begin, fn.Name.Name, end-begin, maxFunction)
			}
			if n := params(fn); n > maxParams {
				t.Errorf("%s/%s:%d: %s has %d parameters, at most %d: make them a struct", p.short(), name, begin, fn.Name.Name, n, maxParams)
			}
		}
	})
}

// params counts the parameters, a leading context left out.
func params(fn *ast.FuncDecl) int {
	n := fn.Type.Params.NumFields()
	if n > 0 {
		if s, ok := fn.Type.Params.List[0].Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Context" {
			n--
		}
	}
	return n
}

// vague are file names that say nothing about their subject.
var vague = []string{"util.go", "utils.go", "helpers.go", "helper.go", "common.go", "misc.go", "types.go", "impl.go", "base.go", "stub.go"}

func TestFilesAreNamedByNoun(t *testing.T) {
	eachFile(t, func(p *pkg, name string, _ *token.FileSet, _ *ast.File) {
		if slices.Contains(vague, name) {
			t.Errorf("%s/%s: name the file by its subject", p.short(), name)
		}
	})
}
