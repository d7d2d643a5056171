package bus

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// cursor is how far a node has read. It begins at a concrete place, which it
// keeps over every connection: to begin at "what is new" again after each would
// lose what came in between.
type cursor struct {
	placed bool
	at     streamID // everything up to here was handed out
	safe   streamID // everything after here was still in the stream at the last check
}

// place begins at the end of the stream.
func (c *cursor) place(b bounds) { c.placed, c.at, c.safe = true, b.last, b.last }

// move goes on past an entry.
func (c *cursor) move(to streamID) { c.at = to }

// lost says whether entries may be gone that were not handed out. After a stream
// was emptied the cursor begins with what there is now: ids are times, so new
// ones may be below it, if clocks differ or all went within a millisecond.
func (c *cursor) lost(b bounds) (gap bool) {
	switch {
	case b.last.less(c.at):
		c.at, gap = streamID{}, true
	case c.safe.zero(): // the stream was empty: what tells is whether it lost any
		gap = b.trimmed
	default:
		gap = c.safe.less(b.first)
	}
	c.safe = c.at
	if c.safe.less(b.first) {
		c.safe = b.first
	}
	return gap
}

// bounds is what a stream holds; all zero if there is none.
type bounds struct {
	first, last streamID
	trimmed     bool // it held more once
}

// bounds asks what the stream holds.
func (r *redisReader) bounds(ctx context.Context, c redis.Cmdable) (b bounds, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	info, err := c.XInfoStream(ctx, r.stream).Result()
	if redis.HasErrorPrefix(err, "no such key") {
		return bounds{}, nil
	}
	if err != nil {
		return bounds{}, err
	}
	var ok, okLast bool
	b.last, okLast = parseStreamID([]byte(info.LastGeneratedID))
	if b.first, ok = parseStreamID([]byte(info.FirstEntry.ID)); !ok && info.Length > 0 || !okLast {
		return bounds{}, fmt.Errorf("%w: stream from %q to %q", errReply, info.FirstEntry.ID, info.LastGeneratedID)
	}
	b.trimmed = info.EntriesAdded > info.Length
	return b, nil
}

// streamID is the place of an entry in the stream.
type streamID struct{ ms, no uint64 }

func parseStreamID(s []byte) (id streamID, ok bool) {
	ms, no, found := bytes.Cut(s, []byte("-"))
	if !found {
		return id, false
	}
	var err, err2 error
	id.ms, err = strconv.ParseUint(string(ms), 10, 64)
	id.no, err2 = strconv.ParseUint(string(no), 10, 64)
	return id, err == nil && err2 == nil
}

func (a streamID) less(b streamID) bool { return a.ms < b.ms || a.ms == b.ms && a.no < b.no }

func (a streamID) zero() bool { return a == streamID{} }

func (a streamID) String() string {
	return strconv.FormatUint(a.ms, 10) + "-" + strconv.FormatUint(a.no, 10)
}
