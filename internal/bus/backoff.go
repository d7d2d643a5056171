package bus

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstWait = 50 * time.Millisecond
	lastWait  = 5 * time.Second
)

// Backoff is the wait between tries that failed: 50 ms at first, doubling up to
// 5 s, each shortened by up to half at random so that many do not come back at
// once. The zero Backoff is ready.
type Backoff struct{ wait time.Duration }

// Next is how long to wait before the next try.
func (b *Backoff) Next() time.Duration {
	b.wait = min(max(2*b.wait, firstWait), lastWait)
	return b.wait - rand.N(b.wait/2)
}

// Wait waits for Next, or until ctx or gone ends; then it is false. gone may be nil.
func (b *Backoff) Wait(ctx context.Context, gone <-chan struct{}) bool {
	t := time.NewTimer(b.Next())
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-gone:
	case <-ctx.Done():
	}
	return false
}

// Reset begins anew after a success.
func (b *Backoff) Reset() { b.wait = 0 }
