package load

import (
	"bytes"
	"strconv"
)

// Frames of the server are read by looking for keys, since a generator that
// shares the machine with what it measures must be cheap. That is sound: the
// server writes compact JSON with op first, and inside a JSON string a quote has
// a backslash before it, so a key with its quotes and colon is never content.

var (
	keyOp       = []byte(`{"op":"`)
	keyID       = []byte(`"id":"`)
	keySeq      = []byte(`"seq":`)
	keyConv     = []byte(`"conversation_id":"`)
	keyClientID = []byte(`"client_msg_id":"`)
	keyBody     = []byte(`"body":"`)
	keyMessage  = []byte(`"message":{`)
	keyCode     = []byte(`"code":"`)
	keyEpoch    = []byte(`"epoch":"`)
	keyMsg      = []byte(`"message_id":"`)
	keySender   = []byte(`"sender_id":"`)
	keyDevice   = []byte(`"device_id":"`)
	keySession  = []byte(`"session_id":"`)
	keyRetry    = []byte(`"retry_after_ms":`)
	keyHint     = []byte(`"reconnect_in_ms":`)
)

// op is the operation of a frame, nil if it does not begin with one.
func op(frame []byte) []byte {
	if !bytes.HasPrefix(frame, keyOp) {
		return nil
	}
	return text(frame, keyOp)
}

// text is the string that follows the key, raw; nil if there is none. The
// identifiers and bodies that are read with it never hold an escape: one that
// does differs from what was sent, and counts as that.
func text(frame, key []byte) []byte {
	_, after, ok := bytes.Cut(frame, key)
	if !ok {
		return nil
	}
	rest := after
	if before, _, ok := bytes.Cut(rest, []byte{'"'}); ok {
		return before
	}
	return nil
}

// number is the integer that follows the key, 0 if there is none.
func number(frame, key []byte) int64 {
	_, after, ok := bytes.Cut(frame, key)
	if !ok {
		return 0
	}
	rest := after
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	n, _ := strconv.ParseInt(string(rest[:end]), 10, 64)
	return n
}

// event is what matters of a message event.
type event struct {
	conversation, clientID, body []byte
	seq                          int64
	raw                          []byte // the message object and what follows
}

func readEvent(frame []byte) (e event, ok bool) {
	_, after, ok := bytes.Cut(frame, keyMessage)
	if !ok {
		return e, false
	}
	m := after
	e = event{text(m, keyConv), text(m, keyClientID), text(m, keyBody), number(m, keySeq), m}
	return e, e.conversation != nil && e.clientID != nil && e.seq > 0
}

// appendSend writes a send frame. Its id is the message's number.
func appendSend(b []byte, m *message) []byte {
	b = append(b, `{"op":"send","id":"`...)
	b = strconv.AppendInt(b, int64(m.number), 10)
	b = append(b, `","conversation_id":"`...)
	b = append(b, m.conv.id...)
	b = append(b, `","client_msg_id":"`...)
	b = m.id.appendTo(b)
	b = append(b, `","body":"`...)
	b = m.body(b)
	return append(b, `"}`...)
}

func appendAck(b []byte, conversation string, seq int64) []byte {
	b = append(b, `{"op":"ack","conversation_id":"`...)
	b = append(b, conversation...)
	b = append(b, `","seq":`...)
	b = strconv.AppendInt(b, seq, 10)
	return append(b, '}')
}
