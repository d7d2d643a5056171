package messaging

import "context"

// What only mutants run; see package mutant.

// readAndJoin pages up to where the hub is and then joins, as if nothing could be
// handed out meanwhile.
func (c *catcher) readAndJoin(ctx context.Context) (isLive bool, err error) {
	if err := c.toward(ctx, c.so.s.hub.position()); err != nil {
		return false, err
	}
	if _, ok := c.join(); !ok {
		return false, errGone
	}
	return c.release(ctx)
}

// outside takes the next sequence of a conversation in memory, where no rollback
// gives it back, and gives the one before it.
func (rs *rooms) outside(conversation string, last int64) int64 {
	r, ok := rs.cache.GetIfPresent(conversation)
	if !ok {
		return last
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last = max(last, r.lastSeq)
	r.lastSeq = last + 1
	return last
}
