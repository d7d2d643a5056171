package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dormant are values of closed sets that nothing in the server sets off, and why
// they exist all the same.
var dormant = map[string]string{
	"TwoFactorFailed": "the second factor is not built yet; the name is fixed, so the series stays at 0",
	"Class1xx":        "of a status, by ClassOf",
	"Class2xx":        "of a status, by ClassOf",
	"Class3xx":        "of a status, by ClassOf",
}

// TestEveryLabelValueIsSetOff: a label value that no code of the server gives
// is a series that can never move, and whoever watches it watches nothing. To
// ask for a value (case, ==) or to have a table by it does not move it.
func TestEveryLabelValueIsSetOff(t *testing.T) {
	values := labelValues(t)
	used := map[string]bool{}
	eachServerFile(t, func(name string, f *ast.File) {
		asked := questions(f)
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && !asked[s] && isIdent(s.X, name) {
				used[s.Sel.Name] = true
			}
			return true
		})
	})
	for _, v := range slices.Sorted(maps.Keys(values)) {
		reason, known := dormant[v]
		switch {
		case !used[v] && !known:
			t.Errorf("obs.%s (%s) is a label value that nothing in the server sets off: move it where it happens, or take it out of its closed set", v, values[v])
		case used[v] && known:
			t.Errorf("obs.%s is in use: take it off the list of dormant ones (%s)", v, reason)
		}
	}
	for v := range dormant {
		if values[v] == "" {
			t.Errorf("obs.%s is on the list of dormant ones and does not exist", v)
		}
	}
}

// TestEveryMetricIsMoved: a metric that no code of the server touches stays at 0.
func TestEveryMetricIsMoved(t *testing.T) {
	used := map[string]bool{}
	eachServerFile(t, func(_ string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				used[s.Sel.Name] = true
			}
			return true
		})
	})
	fields := metricFields(t)
	if len(fields) < 30 {
		t.Fatalf("found %d metrics", len(fields))
	}
	for _, field := range fields {
		if !used[field] && !countedInObs[field] {
			t.Errorf("obs.Metrics.%s is touched by nothing in the server", field)
		}
	}
}

// countedInObs are the metrics of the log itself.
var countedInObs = map[string]bool{"LogKept": true, "LogDropped": true, "LogUncorrelated": true}

// eachServerFile gives every file that runs in `nova serve`, obs left out, with
// the name under which it imports obs.
func eachServerFile(t *testing.T, fn func(obs string, f *ast.File)) {
	t.Helper()
	linked := serverPackages(t)
	eachFile(t, func(p *pkg, _ string, _ *token.FileSet, f *ast.File) {
		if !linked[p.short()] || p.short() == "internal/obs" {
			return
		}
		for _, imp := range f.Imports {
			if imp.Path.Value != `"`+module+`/internal/obs"` {
				continue
			}
			name := "obs"
			if imp.Name != nil {
				name = imp.Name.Name
			}
			fn(name, f)
		}
	})
}

// serverPackages are those that the process is linked from: what only tests, the
// audit or the load generator import moves nothing in a server.
func serverPackages(t *testing.T) map[string]bool {
	t.Helper()
	imports := map[string][]string{}
	for _, p := range packages(t) {
		imports[p.short()] = p.Imports
	}
	linked := map[string]bool{}
	var follow func(p string)
	follow = func(p string) {
		if linked[p] {
			return
		}
		linked[p] = true
		for _, imp := range imports[p] {
			if in, ours := strings.CutPrefix(imp, module+"/"); ours {
				follow(in)
			}
		}
	}
	follow("internal/app")
	return linked
}

// questions are the expressions of a file that compare with a value or look
// something up by it, and so do not set it off.
func questions(f *ast.File) map[ast.Expr]bool {
	asked := map[ast.Expr]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CaseClause:
			for _, e := range n.List {
				asked[e] = true
			}
		case *ast.BinaryExpr:
			if n.Op == token.EQL || n.Op == token.NEQ {
				asked[n.X], asked[n.Y] = true, true
			}
		case *ast.KeyValueExpr:
			asked[n.Key] = true
		}
		return true
	})
	return asked
}

func isIdent(e ast.Expr, name string) bool {
	x, ok := e.(*ast.Ident)
	return ok && x.Name == name
}

// labelValues are the exported constants of obs by name, with the closed set
// that each belongs to: a type that has a String method.
func labelValues(t *testing.T) map[string]string {
	t.Helper()
	sets, values := map[string]bool{}, map[string]string{}
	for _, f := range obsFiles(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "String" && fn.Recv != nil {
				if recv, ok := fn.Recv.List[0].Type.(*ast.Ident); ok {
					sets[recv.Name] = true
				}
			}
		}
	}
	for _, f := range obsFiles(t) {
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				constants(g, sets, values)
			}
		}
	}
	if len(values) < 80 {
		t.Fatalf("found %d label values", len(values))
	}
	return values
}

// constants adds the exported constants of one declaration that are of a set.
func constants(g *ast.GenDecl, sets map[string]bool, values map[string]string) {
	set := ""
	for _, spec := range g.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		if len(v.Values) > 0 {
			set = ""
		}
		if typ, ok := v.Type.(*ast.Ident); ok {
			set = typ.Name
		}
		for _, name := range v.Names {
			if sets[set] && name.IsExported() {
				values[name.Name] = set
			}
		}
	}
}

// metricFields are the exported fields of obs.Metrics.
func metricFields(t *testing.T) (names []string) {
	t.Helper()
	for _, f := range obsFiles(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != "Metrics" {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						if name.IsExported() {
							names = append(names, name.Name)
						}
					}
				}
			}
			return false
		})
	}
	return names
}

func obsFiles(t *testing.T) (list []*ast.File) {
	t.Helper()
	files, err := filepath.Glob("../obs/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	return list
}
