package bus

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nova-chat/nova/internal/obs"
)

// The fields of an entry. Every entry has all of them in this order, empty or
// not, so that Redis stores the names once for a hundred entries. Readers go by
// the names and pass over what they do not know.
const (
	fieldEpoch       = "epoch" // of the store that pos is of
	fieldPos         = "pos"
	fieldType        = "type"
	fieldID          = "id"
	fieldKey         = "key"
	fieldSeq         = "seq"
	fieldAt          = "at" // microseconds since 1970; a time that was not set is before that
	fieldOrigin      = "origin"
	fieldCorrelation = "correlation_id"
	fieldTrace       = "traceparent"
	fieldPayload     = "payload"
)

// maxPayload is the largest payload that travels, in bytes. A message is below
// 20 KiB, so what is larger is a defect, and the stream shall not suffer from it.
const maxPayload = 1 << 20

// addCommand appends an entry. The arguments are pointers into e, which must not
// change until it was sent: a string in an interface would be an allocation.
func addCommand(ctx context.Context, stream, epoch *string, length *int64, e *Envelope) redis.Cmder {
	at := e.At.UnixMicro()
	return redis.NewStringCmd(ctx, "xadd", stream, "maxlen", "~", length, "*",
		fieldEpoch, epoch, fieldPos, &e.Pos, fieldType, &e.Type, fieldID, &e.ID, fieldKey, &e.Key, fieldSeq, &e.Seq,
		fieldAt, &at, fieldOrigin, &e.Origin, fieldCorrelation, (*string)(&e.Correlation), fieldTrace, (*string)(&e.Trace), fieldPayload, e.Payload)
}

// entry is an envelope on its way in. Its fields are parts of a reply, except in
// what envelope makes of them.
type entry struct {
	kind, id, key, origin, correlation, trace []byte
	epoch, payload                            []byte
	pos, seq, at                              int64
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
	case fieldID:
		e.id = value
	case fieldKey:
		e.key = value
	case fieldSeq:
		e.seq, ok = number(value)
		ok = ok && e.seq >= 0
	case fieldAt:
		e.at, ok = number(value)
	case fieldOrigin:
		e.origin = value
	case fieldCorrelation:
		e.correlation = value
	case fieldTrace:
		e.trace = value
	case fieldPayload:
		e.payload, ok = value, len(value) <= maxPayload
	}
	return ok
}

// valid is Envelope.Validate, without an allocation.
func (e *entry) valid() bool {
	_, ok := obs.ParseCorrelation(string(e.correlation))
	return ok && len(e.kind) > 0
}

func number(b []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

// envelope copies the short fields into one string, so that whoever keeps one of
// them does not keep the whole reply; the payload stays a part of it.
func (e *entry) envelope(scratch []byte) (Envelope, []byte) {
	scratch = scratch[:0]
	for _, part := range [...][]byte{e.kind, e.id, e.key, e.origin, e.correlation, e.trace} {
		scratch = append(scratch, part...)
	}
	rest := string(scratch)
	cut := func(part []byte) (s string) {
		s, rest = rest[:len(part)], rest[len(part):]
		return s
	}
	out := Envelope{
		Type: cut(e.kind), ID: cut(e.id), Key: cut(e.key), Origin: cut(e.origin), Correlation: obs.Correlation(cut(e.correlation)),
		Seq: e.seq, Pos: e.pos, At: time.UnixMicro(e.at), Payload: e.payload,
	}
	out.Trace, _ = obs.ParseTrace(cut(e.trace))
	return out, scratch
}
