package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nova-chat/nova/internal/fault"
)

const (
	maxDepth  = 32 // of objects and arrays inside each other
	maxFields = 16 // named in one answer
	maxName   = 64 // bytes of a field's name that an answer repeats
)

// checker walks through a body once, token by token, beside its shape.
//
// What cannot be read ends the walk: 400. Unknown fields and values that are
// readable but not allowed are collected, so that one answer names them all.
type checker struct {
	dec     *jsontext.Decoder
	path    []byte        // of the value that is being read
	unknown []fault.Field // 400 unknown_field
	long    []fault.Field // 422 too_long
	invalid []fault.Field // 422 invalid
}

// checkJSON says what is wrong with a body, nil if nothing is.
func checkJSON(body []byte, want *shape) *fault.Error {
	c := &checker{dec: jsontext.NewDecoder(bytes.NewBuffer(body))}
	if want.kind == huma.TypeObject && c.dec.PeekKind() == jsontext.KindNull {
		return fault.New(fault.CodeBadRequest, "The body must be a JSON object, not null.")
	}
	if f := c.value(want); f != nil {
		return f
	}
	if _, err := c.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return fault.New(fault.CodeBadRequest, "Something follows the JSON object.")
	}
	return c.verdict()
}

// verdict sums up what was collected. Of several failings the one that has to
// be mended first gives the code.
func (c *checker) verdict() *fault.Error {
	for _, v := range []struct {
		code   fault.Code
		fields []fault.Field
	}{{fault.CodeUnknownField, c.unknown}, {fault.CodeTooLong, c.long}, {fault.CodeInvalid, c.invalid}} {
		if len(v.fields) == 0 {
			continue
		}
		all := v.fields
		if v.code == fault.CodeTooLong {
			all = append(all, c.invalid...)
		}
		return onFields(v.code, all)
	}
	return nil
}

// onFields is a fault about one or more fields.
func onFields(code fault.Code, fields []fault.Field) *fault.Error {
	f := fault.OnField(code, fields[0].Name, fields[0].Detail)
	f.Fields = fields[:min(len(fields), maxFields)]
	return f
}

// note collects a failing of the value that is being read.
func (c *checker) note(list *[]fault.Field, detail string) {
	if len(*list) < maxFields {
		*list = append(*list, fault.Field{Name: c.name(), Detail: detail})
	}
}

func (c *checker) name() string {
	if len(c.path) == 0 {
		return "body"
	}
	return strings.ToValidUTF8(string(c.path), "")
}

func (c *checker) unreadable(detail string) *fault.Error {
	return fault.OnField(fault.CodeBadRequest, c.name(), detail)
}

// syntax explains an error of the decoder without its text, which may repeat
// what was sent.
func (c *checker) syntax(err error) *fault.Error {
	at := c.dec.InputOffset()
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return c.unreadable("holds a field twice")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Newf(fault.CodeBadRequest, "The JSON ends early, at byte %d.", at)
	}
	return fault.Newf(fault.CodeBadRequest, "Not JSON in UTF-8 (RFC 8259), near byte %d.", at)
}

// value reads one value. The path is the caller's to restore.
func (c *checker) value(want *shape) *fault.Error {
	tok, err := c.dec.ReadToken()
	if err != nil {
		return c.syntax(err)
	}
	switch tok.Kind() {
	case jsontext.KindNull:
		if !want.nullable && want.kind != "" {
			return c.unreadable(want.wanted() + ", not null")
		}
		return nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return c.fits(want, huma.TypeBoolean)
	case jsontext.KindString:
		return c.text(want, tok.String())
	case jsontext.KindNumber:
		return c.number(want, tok.String())
	case jsontext.KindBeginObject:
		return c.object(want)
	default:
		return c.array(want)
	}
}

func (c *checker) fits(want *shape, kind string) *fault.Error {
	if !want.is(kind) {
		return c.unreadable(want.wanted())
	}
	if c.dec.StackDepth() > maxDepth {
		return c.unreadable(fmt.Sprintf("lies deeper than %d levels", maxDepth))
	}
	return nil
}

func (c *checker) text(want *shape, s string) *fault.Error {
	if f := c.fits(want, huma.TypeString); f != nil {
		return f
	}
	if strings.IndexByte(s, 0) >= 0 {
		return c.unreadable("holds U+0000, which no text may")
	}
	if want.maxLen != nil && utf8.RuneCountInString(s) > *want.maxLen {
		c.note(&c.long, fmt.Sprintf("may have at most %d characters", *want.maxLen))
		return nil
	}
	if want.minLen != nil && utf8.RuneCountInString(s) < *want.minLen {
		c.note(&c.invalid, fmt.Sprintf("must have at least %d characters", *want.minLen))
		return nil
	}
	if want.pattern != nil && !want.pattern.MatchString(s) {
		c.note(&c.invalid, want.patternText)
	}
	if _, err := time.Parse(time.RFC3339, s); want.format == "date-time" && err != nil {
		c.note(&c.invalid, "must be a time like 2026-11-23T09:30:00.000Z (RFC 3339)")
	}
	if len(want.enum) > 0 && !slices.Contains(want.enum, any(s)) {
		c.note(&c.invalid, fmt.Sprintf("must be one of %v", want.enum))
	}
	return nil
}

func (c *checker) number(want *shape, s string) *fault.Error {
	if f := c.fits(want, huma.TypeNumber); f != nil {
		return f
	}
	if want.kind == huma.TypeInteger {
		if strings.ContainsAny(s, ".eE") {
			return c.unreadable("must be an integer, without fraction or exponent")
		}
		bits := 64
		if want.format == "int32" {
			bits = 32
		}
		if _, err := strconv.ParseInt(s, 10, bits); err != nil {
			c.note(&c.invalid, "is out of range")
			return nil
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		c.note(&c.invalid, "is out of range")
	case want.min != nil && v < *want.min:
		c.note(&c.invalid, fmt.Sprintf("must be at least %v", *want.min))
	case want.max != nil && v > *want.max:
		c.note(&c.invalid, fmt.Sprintf("must be at most %v", *want.max))
	}
	return nil
}

func (c *checker) array(want *shape) *fault.Error {
	if f := c.fits(want, huma.TypeArray); f != nil {
		return f
	}
	items, here, n := want.items, len(c.path), 0
	if items == nil {
		items = &shape{}
	}
	for c.dec.PeekKind() != jsontext.KindEndArray {
		c.path = append(strconv.AppendInt(append(c.path[:here], '['), int64(n), 10), ']')
		if f := c.value(items); f != nil {
			return f
		}
		n++
	}
	c.path = c.path[:here]
	if _, err := c.dec.ReadToken(); err != nil {
		return c.syntax(err)
	}
	switch {
	case want.maxLen != nil && n > *want.maxLen:
		c.note(&c.long, fmt.Sprintf("may have at most %d entries", *want.maxLen))
	case want.minLen != nil && n < *want.minLen:
		c.note(&c.invalid, fmt.Sprintf("must have at least %d entries", *want.minLen))
	}
	return nil
}

func (c *checker) object(want *shape) *fault.Error {
	if f := c.fits(want, huma.TypeObject); f != nil {
		return f
	}
	here, seen := len(c.path), map[string]bool{}
	for c.dec.PeekKind() != jsontext.KindEndObject {
		tok, err := c.dec.ReadToken()
		if err != nil {
			return c.syntax(err)
		}
		name := tok.String()
		seen[name] = true
		c.path = c.path[:here]
		if f := c.field(want, name); f != nil {
			return f
		}
	}
	c.path = c.path[:here]
	if _, err := c.dec.ReadToken(); err != nil {
		return c.syntax(err)
	}
	for _, name := range want.required {
		if !seen[name] {
			c.enter(name)
			c.note(&c.invalid, "is missing")
			c.path = c.path[:here]
		}
	}
	return nil
}

// enter appends a field's name to the path.
func (c *checker) enter(name string) {
	if len(c.path) > 0 {
		c.path = append(c.path, '.')
	}
	c.path = append(c.path, name[:min(len(name), maxName)]...)
}

func (c *checker) field(want *shape, name string) *fault.Error {
	c.enter(name)
	if strings.IndexByte(name, 0) >= 0 {
		return c.unreadable("holds U+0000, which no text may")
	}
	inner := want.fields[name]
	if inner == nil && want.kind == "" {
		inner = want // anything goes, down to the bottom
	}
	if inner == nil {
		inner = want.open
	}
	if inner == nil {
		c.note(&c.unknown, want.unknown(name))
		inner = &shape{} // read on: the rest must be JSON too
	}
	return c.value(inner)
}

// unknown says what is wrong with a field that has no place here.
func (s *shape) unknown(name string) string {
	for known := range s.fields {
		if strings.EqualFold(known, name) {
			return "is unknown; names are case-sensitive: write " + known
		}
	}
	return "is unknown"
}
