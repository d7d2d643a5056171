package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// entry is one setting as a file has it. A list is joined with commas, and the
// mapping of rpc with semicolons, as on the command line.
type entry struct {
	key, value string
	line       int
}

// parseFile reads a YAML mapping. The problems' Source is ":LINE"; they hold no
// text of the parser's, which would quote the line.
func parseFile(data []byte) ([]entry, []Problem) {
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []Problem{{"config", position(err), "this is not valid YAML"}}
	}
	var r fileReader
	docs := 0
	for _, doc := range f.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if docs++; docs > 1 {
			r.refuse("config", doc.Body, "one file holds one document")
			break
		}
		r.mapping("", doc.Body)
	}
	return r.entries, r.problems
}

func position(err error) string {
	if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil {
		return fmt.Sprintf(":%d", e.GetToken().Position.Line)
	}
	return ""
}

type fileReader struct {
	entries  []entry
	problems []Problem
}

func (r *fileReader) refuse(key string, n ast.Node, detail string) {
	r.problems = append(r.problems, Problem{key, fmt.Sprintf(":%d", n.GetToken().Position.Line), detail})
}

// mapping reads the settings below prefix.
func (r *fileReader) mapping(prefix string, n ast.Node) {
	values, ok := pairs(n)
	if !ok {
		r.refuse(orConfig(prefix), n, "must be a mapping of settings to values")
		return
	}
	seen := map[string]bool{}
	for _, v := range values {
		key := prefix + v.Key.GetToken().Value
		if seen[key] {
			r.refuse(key, v.Key, "stands twice")
			continue
		}
		seen[key] = true
		r.value(key, v)
	}
}

func orConfig(prefix string) string {
	if prefix == "" {
		return "config"
	}
	return strings.TrimSuffix(prefix, ".")
}

func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func (r *fileReader) value(key string, v *ast.MappingValueNode) {
	switch key {
	case "limits":
		r.mapping("limits.", v.Value)
		return
	case "rpc":
		r.addresses(v)
		return
	}
	text, ok := plain(v.Value)
	if !ok {
		r.refuse(key, v.Key, "must be a plain value or a list of plain values")
		return
	}
	r.entries = append(r.entries, entry{key, text, v.Key.GetToken().Position.Line})
}

func (r *fileReader) addresses(v *ast.MappingValueNode) {
	line := v.Key.GetToken().Position.Line
	byService, ok := pairs(v.Value)
	if !ok {
		if text, plainOK := plain(v.Value); plainOK {
			r.entries = append(r.entries, entry{"rpc", text, line})
			return
		}
	}
	var parts []string
	for _, s := range byService {
		addrs, plainOK := plain(s.Value)
		ok = ok && plainOK
		parts = append(parts, s.Key.GetToken().Value+"="+addrs)
	}
	if !ok {
		r.refuse("rpc", v.Key, "must be a mapping of services to addresses")
		return
	}
	r.entries = append(r.entries, entry{"rpc", strings.Join(parts, ";"), line})
}

// plain is the text of a scalar or of a list of scalars. Anchors, aliases, tags
// and null are refused: they hide what is set.
func plain(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	case *ast.SequenceNode:
		var items []string
		for _, item := range n.Values {
			text, ok := plain(item)
			if _, nested := item.(*ast.SequenceNode); !ok || nested {
				return "", false
			}
			items = append(items, text)
		}
		return strings.Join(items, ","), true
	}
	return "", false
}
