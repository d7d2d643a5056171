package token

import (
	"slices"
	"sync"
	"time"
)

// Revocations are the sessions that have ended before their proofs did. It is
// safe for concurrent use.
type Revocations struct {
	mu       sync.RWMutex // guards what follows
	until    map[string]time.Time
	sweepAt  time.Time
	onRevoke []func(sessionID string)
	heard    time.Time // up to when everything is known
	silent   bool      // since then, something may have ended unheard
}

// sweepEvery bounds how long a revocation is kept past its time; what is kept
// is bounded by what is revoked within that and a proof's life.
const sweepEvery = time.Minute

// NewRevocations makes an empty set.
func NewRevocations() *Revocations { return &Revocations{until: map[string]time.Time{}} }

// Revoke refuses a session from now on, and forgets it after until, when no
// proof of it can be alive. The functions given to OnRevoke have returned when
// it returns; a repeat calls them again only if the session was forgotten.
func (r *Revocations) Revoke(sessionID string, until time.Time) {
	r.mu.Lock()
	r.sweep(time.Now())
	old, known := r.until[sessionID]
	if until.After(old) {
		r.until[sessionID] = until
	}
	tell := r.onRevoke
	r.mu.Unlock()
	if known {
		return
	}
	for _, fn := range tell {
		fn(sessionID)
	}
}

// Has says whether a session is revoked.
func (r *Revocations) Has(sessionID string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	until, ok := r.until[sessionID]
	return ok && time.Now().Before(until)
}

// OnRevoke has fn called for every session revoked from now on, on the
// goroutine that revokes it. Who opens something for a session subscribes
// first, opens, and then asks Has: so that no revocation falls in between.
func (r *Revocations) OnRevoke(fn func(sessionID string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onRevoke = append(slices.Clip(r.onRevoke), fn)
}

func (r *Revocations) sweep(now time.Time) {
	if now.Before(r.sweepAt) {
		return
	}
	r.sweepAt = now.Add(sweepEvery)
	for id, until := range r.until {
		if !now.Before(until) {
			delete(r.until, id)
		}
	}
}

// Heard notes that everything that was revoked before a moment is known here,
// and Unheard that this can be said of no later one: whoever feeds the set calls
// one of them again and again.
func (r *Revocations) Heard(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard, r.silent = before, false
}

// Unheard is the opposite of [Revocations.Heard].
func (r *Revocations) Unheard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent = true
}

// Silence is for how long what is revoked elsewhere may not be known here, 0
// while there is word of it.
func (r *Revocations) Silence() time.Duration {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.silent {
		return 0
	}
	return time.Since(r.heard)
}
