package web

import (
	"regexp"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// shape is what a JSON value must look like. It is made from the same schema
// that the OpenAPI document shows, so that the two cannot differ.
type shape struct {
	kind     string // "object", "array", "string", "integer", "number", "boolean"; "" is anything
	format   string // of OpenAPI: "date-time", "int32", ...
	nullable bool

	fields   map[string]*shape // of an object
	open     *shape            // for fields that are not named; nil refuses them
	required []string
	items    *shape

	minLen, maxLen *int // characters of a string, items of an array
	min, max       *float64
	pattern        *regexp.Regexp
	patternText    string
	enum           []any
}

var emptyShape = &shape{kind: huma.TypeObject}

// shaper turns schemas into shapes; refs keeps recursive types finite.
type shaper struct {
	registry huma.Registry
	refs     map[string]*shape
}

func (m *shaper) shape(s *huma.Schema) *shape {
	if s.Ref == "" {
		out := &shape{}
		m.fill(out, s)
		return out
	}
	if have := m.refs[s.Ref]; have != nil {
		return have
	}
	out := &shape{}
	m.refs[s.Ref] = out
	m.fill(out, m.registry.SchemaFromRef(s.Ref))
	return out
}

func (m *shaper) fill(out *shape, s *huma.Schema) {
	if len(s.OneOf)+len(s.AnyOf)+len(s.AllOf) > 0 || s.Not != nil {
		panic("a body with alternatives cannot be checked: write one type")
	}
	*out = shape{
		kind: s.Type, format: s.Format, nullable: s.Nullable, enum: s.Enum, required: s.Required,
		min: s.Minimum, max: s.Maximum, minLen: s.MinLength, maxLen: s.MaxLength,
	}
	if s.Pattern != "" {
		out.pattern, out.patternText = regexp.MustCompile(s.Pattern), "must match "+s.Pattern
		if s.PatternDescription != "" {
			out.patternText = "must be " + s.PatternDescription
		}
	}
	switch s.Type {
	case huma.TypeArray:
		out.nullable = false // see neverNull
		out.items, out.minLen, out.maxLen = m.shape(s.Items), s.MinItems, s.MaxItems
	case huma.TypeObject:
		m.fillObject(out, s)
	}
}

func (m *shaper) fillObject(out *shape, s *huma.Schema) {
	switch more := s.AdditionalProperties.(type) {
	case *huma.Schema:
		out.open = m.shape(more)
	case bool:
		if more {
			out.open = &shape{}
		}
	}
	out.fields = map[string]*shape{}
	for name, p := range s.Properties {
		out.fields[name] = m.shape(p)
	}
	out.required = slices.Sorted(slices.Values(s.Required))
}

// is says whether a JSON value of that kind fits; an integer is a number too.
func (s *shape) is(kind string) bool {
	return s.kind == "" || s.kind == kind || s.kind == huma.TypeInteger && kind == huma.TypeNumber
}

// wanted says in words what would be right.
func (s *shape) wanted() string {
	switch s.kind {
	case huma.TypeInteger, huma.TypeObject, huma.TypeArray:
		return "must be an " + s.kind
	}
	return "must be a " + s.kind
}
