package bus

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"github.com/nova-chat/nova/internal/obs"
)

// errReply is an answer that no Redis gives.
var errReply = errors.New("the answer is not one of Redis to XREAD")

// reply walks over what Redis answered to XREAD, in RESP2. The library would
// make a map of every entry; this makes nothing.
type reply struct {
	rest []byte
	err  error
}

// list is the number of elements that follow, 0 for a null.
func (r *reply) list() int { return max(0, r.header('*')) }

// text is the next string. It is a part of the answer.
func (r *reply) text() []byte {
	n := r.header('$')
	if r.err != nil || n < 0 {
		return nil
	}
	if len(r.rest) < n+2 {
		r.err = errReply
		return nil
	}
	s := r.rest[:n:n]
	r.rest = r.rest[n+2:]
	return s
}

// entries is the number of entries of the one stream that was asked for.
func (r *reply) entries() int {
	if r.list() == 0 {
		return 0
	}
	r.list()
	r.text()
	return r.list()
}

// entry is the next entry and its place. It is false if a field of it is none of
// ours; the walk goes on behind it.
func (r *reply) entry() (at streamID, e entry, ok bool) {
	r.list()
	at, ok = parseStreamID(r.text())
	if !ok && r.err == nil {
		r.err = errReply
	}
	for n := r.list(); n >= 2; n -= 2 {
		name, value := r.text(), r.text()
		ok = e.set(name, value) && ok
	}
	return at, e, ok
}

// header reads a line of that kind with a length.
func (r *reply) header(kind byte) int {
	if r.err != nil {
		return 0
	}
	end := bytes.Index(r.rest, []byte("\r\n"))
	if end < 1 || r.rest[0] != kind {
		r.err = errReply
		return 0
	}
	n, err := strconv.Atoi(string(r.rest[1:end]))
	if err != nil || n < -1 || n > len(r.rest) {
		r.err = errReply
		return 0
	}
	r.rest = r.rest[end+2:]
	return n
}

// serverError is a refusal within an answer that the library did not read.
type serverError string

// Error is what Redis said.
func (e serverError) Error() string { return string(e) }

// RedisError makes it one of the library's.
func (serverError) RedisError() {}

// take hands out what a read gave. An entry that cannot be read is passed over:
// it would be the same at the next try.
func (r *redisReader) take(ctx context.Context, raw []byte) error {
	in, own := reply{rest: raw}, r.epoch()
	bad, foreign := 0, 0
	r.batch = r.batch[:0]
	for left := in.entries(); left > 0; left-- {
		at, e, ok := in.entry()
		if in.err != nil {
			break // the cursor stays before what was not read
		}
		r.cursor.move(at)
		switch {
		case !ok:
			bad++
		case e.pos != 0 && own != "" && string(e.epoch) != own:
			foreign++
		default:
			var envelope Envelope
			if envelope, r.text, ok = e.envelope(r.text); !ok {
				bad++
				continue
			}
			r.batch = append(r.batch, envelope)
		}
	}
	r.count(ctx, obs.BusMalformed, bad)
	r.count(ctx, obs.BusRefused, foreign)
	r.hand(r.batch)
	clear(r.batch) // it must not hold the payloads until the next read
	return in.err
}
