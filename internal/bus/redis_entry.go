package bus

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nova-chat/nova/internal/obs"
)

// The fields of an entry, in this order; traceparent only if there is one. Few, since
// Redis and every node spend most of their time on the number of strings: what only
// Nova reads stands in one. Readers go by the names and pass over what they do not know.
const (
	fieldEpoch       = "epoch" // of the store that pos is of
	fieldPos         = "pos"
	fieldType        = "type"
	fieldCorrelation = "correlation_id"
	fieldEvent       = "event" // id, key, seq, at and origin, with a space between two
	fieldPayload     = "payload"
	fieldTrace       = "traceparent"
)

// maxPayload is the largest payload that travels, in bytes. A message is below
// 20 KiB, so what is larger is a defect, and the stream shall not suffer from it.
const maxPayload = 1 << 20

// addCommand appends an entry. The arguments are pointers into e, which must not
// change until it was sent: a string in an interface would be an allocation.
func addCommand(ctx context.Context, stream, epoch *string, length *int64, e *Envelope) redis.Cmder {
	event := appendEvent(make([]byte, 0, len(e.ID)+len(e.Key)+len(e.Origin)+44), e)
	args := [...]any{
		"xadd", stream, "maxlen", "~", length, "*", fieldEpoch, epoch, fieldPos, &e.Pos, fieldType, &e.Type,
		fieldCorrelation, (*string)(&e.Correlation), fieldEvent, event, fieldPayload, e.Payload, fieldTrace, (*string)(&e.Trace),
	}
	if e.Trace == "" {
		return redis.NewStringCmd(ctx, args[:len(args)-2]...)
	}
	return redis.NewStringCmd(ctx, args[:]...)
}

// appendEvent writes the field event. The time is in microseconds since 1970; one that
// was not set is before that.
func appendEvent(b []byte, e *Envelope) []byte {
	b = append(appendWord(b, e.ID), ' ')
	b = append(appendWord(b, e.Key), ' ')
	b = append(strconv.AppendInt(b, e.Seq, 10), ' ')
	b = append(strconv.AppendInt(b, e.At.UnixMicro(), 10), ' ')
	return appendWord(b, e.Origin)
}

// appendWord writes what may hold a space so that it holds none.
func appendWord(b []byte, s string) []byte {
	if strings.ContainsAny(s, " %") {
		s = url.PathEscape(s)
	}
	return append(b, s...)
}

// word undoes appendWord.
func word(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	s, err := url.PathUnescape(s)
	return s, err == nil
}

// entry is an envelope on its way in. Its fields are parts of a reply.
type entry struct {
	epoch, kind, correlation, event, trace, payload []byte
	pos                                             int64
}

// set takes one field; false if it cannot be read.
func (e *entry) set(name, value []byte) (ok bool) {
	ok = true
	switch string(name) {
	case fieldEpoch:
		e.epoch = value
	case fieldPos:
		e.pos, ok = number(value)
		ok = ok && e.pos >= 0
	case fieldType:
		e.kind = value
	case fieldCorrelation:
		e.correlation = value
	case fieldEvent:
		e.event = value
	case fieldTrace:
		e.trace = value
	case fieldPayload:
		e.payload, ok = value, len(value) <= maxPayload
	}
	return ok
}

func number[T string | []byte](s T) (int64, bool) {
	n, err := strconv.ParseInt(string(s), 10, 64)
	return n, err == nil
}

// envelope copies the short fields into one string, so that whoever keeps one of
// them does not keep the whole reply; the payload stays a part of it. It is false if
// a field cannot be read, or nobody could handle or trace the envelope.
func (e *entry) envelope(scratch []byte) (out Envelope, _ []byte, ok bool) {
	scratch = append(append(append(append(scratch[:0], e.kind...), e.correlation...), e.trace...), e.event...)
	rest := string(scratch)
	cut := func(n int) (s string) {
		s, rest = rest[:n], rest[n:]
		return s
	}
	out = Envelope{Type: cut(len(e.kind)), Correlation: obs.Correlation(cut(len(e.correlation))), Pos: e.pos, Payload: e.payload}
	out.Trace, _ = obs.ParseTrace(cut(len(e.trace)))
	return out, scratch, out.readEvent(rest) && out.Validate() == nil
}

// readEvent takes over what appendEvent wrote; false if it was something else.
func (e *Envelope) readEvent(s string) bool {
	var parts [5]string // what may follow them one day is passed over
	for i := range parts {
		var found bool
		if parts[i], s, found = strings.Cut(s, " "); !found && i < len(parts)-1 {
			return false
		}
	}
	var ok [5]bool
	var at int64
	e.ID, ok[0] = word(parts[0])
	e.Key, ok[1] = word(parts[1])
	e.Seq, ok[2] = number(parts[2])
	at, ok[3] = number(parts[3])
	e.Origin, ok[4] = word(parts[4])
	e.At = time.UnixMicro(at)
	return ok == [5]bool{true, true, true, true, true} && e.Seq >= 0
}
