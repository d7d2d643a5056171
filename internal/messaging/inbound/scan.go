package inbound

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// scanSend reads a send frame of the form that clients usually write: one
// object without white space, whose members are strings, each at most once, and
// only the body has escapes. ok is false for every other frame, whether good or
// bad: the decoder then judges it. What scanSend accepts the decoder would
// accept with the same result; a fuzzer compares them.
func scanSend(payload []byte) (f sendFrame, ok bool) {
	if len(payload) < 2 || payload[0] != '{' || !utf8.Valid(payload) {
		return f, false
	}
	rest := payload[1:]
	seen := 0
	for {
		name, more, plain := scanString(rest)
		if !plain || len(more) == 0 || more[0] != ':' {
			return f, false
		}
		value, more, plain := scanString(more[1:])
		if value == nil || len(more) == 0 {
			return f, false
		}
		bit, into := f.member(name)
		if bit == 0 || seen&bit != 0 || !plain && bit != bodyBit {
			return f, false
		}
		seen |= bit
		if *into, ok = unquoted(value, plain); !ok {
			return f, false
		}
		if more[0] == '}' {
			return f, len(more) == 1
		}
		if more[0] != ',' {
			return f, false
		}
		rest = more[1:]
	}
}

const bodyBit = 32

// member finds the field of a name; bit is 0 for a name that send does not have.
func (f *sendFrame) member(name []byte) (bit int, into *string) {
	switch string(name) {
	case "op":
		return 1, &f.Op
	case "id":
		return 2, &f.ID
	case "cid":
		return 4, &f.CID
	case "conversation_id":
		return 8, &f.ConversationID
	case "client_msg_id":
		return 16, &f.ClientMsgID
	case "body":
		return bodyBit, &f.Body
	}
	return 0, nil
}

// scanString takes a JSON string off the front: its text between the quotes,
// what follows it, and whether the text is plain, without escapes. text is nil
// if there is no string.
func scanString(b []byte) (text, rest []byte, plain bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	plain = true
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[1:i:i], b[i+1:], plain
		case c == '\\':
			plain = false
			i++
		case c < 0x20:
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// unquoted is the value of a string's text.
func unquoted(text []byte, plain bool) (string, bool) {
	if plain {
		return string(text), true
	}
	quoted := make([]byte, 0, len(text)+2)
	quoted = append(append(append(quoted, '"'), text...), '"')
	value, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil || bytes.IndexByte(value, 0) >= 0 {
		return "", false
	}
	return string(value), true
}
