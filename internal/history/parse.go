package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// A history has millions of lines of few known forms, so they are read by a
// scanner of their own, without an allocation for each. It accepts less than
// JSON: one flat object, whole numbers, no field twice.

var errSyntax = errors.New("is no flat JSON object of texts, whole numbers and flags")

// scanner reads one line.
type scanner struct {
	rest []byte
	out  *line
}

// parse reads one line into l and judges that it has the fields of its kind.
func parse(raw []byte, l *line) error {
	l.has, l.pairs = 0, l.pairs[:0]
	s := scanner{raw, l}
	if err := s.object(s.field); err != nil {
		return err
	}
	if s.space(); len(s.rest) > 0 {
		return errSyntax
	}
	return l.complete()
}

func (s *scanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\t' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
}

func (s *scanner) take(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// object reads an object and hands each name to one, which reads the value.
func (s *scanner) object(one func(name []byte) error) error {
	if !s.take('{') {
		return errSyntax
	}
	if s.take('}') {
		return nil
	}
	for {
		name, err := s.str()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return errSyntax
		}
		if err := one(name); err != nil {
			return err
		}
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return errSyntax
		}
	}
}

func (s *scanner) field(name []byte) (err error) {
	f, ok := byName[string(name)]
	if !ok {
		return fmt.Errorf("has the unknown field %.40q", name)
	}
	if s.out.has.has(f) {
		return fmt.Errorf("has the field %q twice", name)
	}
	s.out.has |= of(f)
	switch fields[f].shape {
	case isText:
		s.out.text[f], err = s.str()
	case isNumber:
		s.out.num[f], err = s.number()
	case isFlag:
		s.out.num[f], err = s.flag()
	case isPairs:
		err = s.object(s.pair)
	}
	if err != nil {
		return fmt.Errorf("field %q: %w", name, err)
	}
	return nil
}

func (s *scanner) pair(name []byte) error {
	n, err := s.number()
	s.out.pairs = append(s.out.pairs, pair{name, n})
	return err
}

var errText = errors.New("should be a text")

func (s *scanner) str() ([]byte, error) {
	if !s.take('"') {
		return nil, errText
	}
	end, escaped := 0, false
	for ; ; end++ {
		if end >= len(s.rest) || s.rest[end] < ' ' {
			return nil, errText
		}
		if s.rest[end] == '"' {
			break
		}
		if s.rest[end] == '\\' {
			escaped = true
			end++
		}
	}
	text := s.rest[:end]
	s.rest = s.rest[end+1:]
	if !escaped {
		return text, nil
	}
	return unescape(text)
}

func unescape(text []byte) ([]byte, error) {
	var out string
	if json.Unmarshal(append(append([]byte{'"'}, text...), '"'), &out) != nil {
		return nil, errText
	}
	return []byte(out), nil
}

var errNumber = errors.New("should be a whole number of at most 18 digits")

func (s *scanner) number() (n int64, err error) {
	const digits = 18
	minus := s.take('-')
	s.space()
	i := 0
	for ; i < len(s.rest) && s.rest[i] >= '0' && s.rest[i] <= '9'; i++ {
		if i == digits {
			return 0, errNumber
		}
		n = 10*n + int64(s.rest[i]-'0')
	}
	if i == 0 || i > 1 && s.rest[0] == '0' {
		return 0, errNumber
	}
	s.rest = s.rest[i:]
	if minus {
		n = -n
	}
	return n, nil
}

var errFlag = errors.New("should be true or false")

func (s *scanner) flag() (int64, error) {
	s.space()
	if after, ok := bytes.CutPrefix(s.rest, []byte("true")); ok {
		s.rest = after
		return 1, nil
	}
	if after, ok := bytes.CutPrefix(s.rest, []byte("false")); ok {
		s.rest = after
		return 0, nil
	}
	return 0, errFlag
}
