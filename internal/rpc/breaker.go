package rpc

import (
	"sync"
	"time"
)

const (
	silentCalls = 3                // calls in a row without an answer that open a breaker
	shortestOff = 5 * time.Second  // how long the first time
	longestOff  = 60 * time.Second // doubled each time up to this
)

// breaker keeps calls from one address that takes them and does not answer: a
// process that was stopped, or that hangs. An address that nobody answers at
// needs none, gRPC passes over it by itself.
//
// There is no half-open state with calls as probes: when the time is over, the
// address must first take a new connection and say hello on it, which a hanging
// process does not; then the first silent call sets it aside again.
type breaker struct {
	mu     sync.Mutex
	silent int           // calls in a row without an answer
	off    time.Duration // how long it was last set aside, 0 since it answered
	until  time.Time     // set aside until then
}

// success notes an answer.
func (b *breaker) success() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.silent, b.off = 0, 0
}

// failure notes a call without an answer and says whether it opened the breaker.
func (b *breaker) failure(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.silent++; now.Before(b.until) || b.silent < silentCalls {
		return false // too few, or open already: a call from before
	}
	b.off = min(max(2*b.off, shortestOff), longestOff)
	b.until = now.Add(b.off)
	return true
}

// closedIn is how long the address is still set aside; 0 or less = it is not.
func (b *breaker) closedIn(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until.Sub(now)
}
