package sqldb

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// In is a list of n parameters for IN, beginning with $first: In(2, 3) is
// "($3, $4)". In(0, first) is "(NULL)", which holds nothing. The statements of
// a connection are cached by text, so callers should use few different n.
func In(n, first int) string {
	if n <= 0 {
		return "(NULL)"
	}
	b := make([]byte, 0, 2+n*5)
	b = append(b, '(')
	for i := range n {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendInt(append(b, '$'), int64(first+i), 10)
	}
	return string(append(b, ')'))
}

// CheckText says what keeps a text from running alike on every engine: its
// parameters must be $1, $2 and so on, and first appear in that order (some
// drivers bind by number, others by position).
func CheckText(query string) error {
	_, err := byPosition(query)
	return err
}

// byPosition checks a text as CheckText does and gives it with ? for its
// parameters, unless one appears twice: SQLite's driver looks the name of each
// numbered parameter up in a list, from the beginning.
func byPosition(query string) (string, error) {
	next, twice := 1, false
	var out strings.Builder
	done := 0 // how much of the text is in out
	for i := 0; i < len(query); i++ {
		switch c := query[i]; c {
		case '\'', '"':
			i = skipQuoted(query, i)
		case '-', '/':
			i = skipComment(query, i)
		case '?', '@':
			return "", fmt.Errorf("parameter %q: only $1, $2 and so on are allowed", c)
		case '$':
			digits := len(query[i+1:]) - len(strings.TrimLeft(query[i+1:], "0123456789"))
			n, err := strconv.Atoi(query[i+1 : i+1+digits])
			if err != nil || n < 1 {
				return "", errors.New("a $ without a number from 1 on")
			}
			if n > next {
				return "", fmt.Errorf("$%d appears before $%d", n, next)
			}
			twice = twice || n < next
			next = max(next, n+1)
			out.WriteString(query[done:i])
			out.WriteByte('?')
			i += digits
			done = i + 1
		}
	}
	if twice {
		return query, nil
	}
	out.WriteString(query[done:])
	return out.String(), nil
}

// skipQuoted gives the place of the closing quote; a doubled quote needs no
// care, for it reads as the end of one text and the beginning of another.
func skipQuoted(query string, i int) int {
	if n := strings.IndexByte(query[i+1:], query[i]); n >= 0 {
		return i + 1 + n
	}
	return len(query)
}

// skipComment gives the last place of the comment at i, or i if there is none.
func skipComment(query string, i int) int {
	var end string
	switch {
	case strings.HasPrefix(query[i:], "--"):
		end = "\n"
	case strings.HasPrefix(query[i:], "/*"):
		end = "*/"
	default:
		return i
	}
	if n := strings.Index(query[i+2:], end); n >= 0 {
		return i + 2 + n + len(end) - 1
	}
	return len(query)
}
