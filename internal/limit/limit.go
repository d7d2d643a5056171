package limit

import (
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

const (
	shards  = 64
	maxKeys = 100_000 // of one limiter
	sampled = 8       // keys looked at to find the one to forget
)

// Rate is a steady rate and the burst that may exceed it. The zero Rate does
// not limit; configuration refuses it, so it is for tests.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Window is how long an empty bucket takes to fill.
func (r Rate) Window() time.Duration {
	if r.PerSecond <= 0 {
		return 0
	}
	return time.Duration(float64(r.Burst) / r.PerSecond * float64(time.Second))
}

// Limiter is a set of token buckets by key. Make one with [New]. It is safe for
// concurrent use.
type Limiter struct {
	obs      *obs.Obs
	which    obs.Limit
	rate     Rate
	cost     time.Duration // what one token costs
	most     time.Duration // a bucket's whole content
	perShard int
	start    time.Time
	seed     maphash.Seed
	shards   [shards]shard
}

// shard holds, for each key, the moment since start at which its bucket will be
// full again (the theoretical arrival time of the generic cell rate algorithm):
// one number instead of a level and the time of its last change.
type shard struct {
	mu   sync.Mutex
	full map[string]time.Duration
}

// New makes a limiter; refusals are counted under which.
func New(o *obs.Obs, which obs.Limit, r Rate) *Limiter { return newSized(o, which, r, maxKeys) }

func newSized(o *obs.Obs, which obs.Limit, r Rate, keys int) *Limiter {
	l := &Limiter{obs: o, which: which, rate: r, perShard: max(keys/shards, 1), start: time.Now(), seed: maphash.MakeSeed()}
	if r.PerSecond > 0 {
		l.cost = time.Duration(math.Ceil(float64(time.Second) / r.PerSecond))
		l.most = l.cost * time.Duration(max(r.Burst, 1))
	}
	for i := range l.shards {
		l.shards[i].full = map[string]time.Duration{}
	}
	return l
}

// Rate is the rate that the limiter was made with.
func (l *Limiter) Rate() Rate { return l.rate }

// Allow is AllowN for one.
func (l *Limiter) Allow(key string) (ok bool, retryAfter time.Duration) { return l.AllowN(key, 1) }

// AllowN takes n from the bucket of key. When there are fewer it takes none,
// counts the refusal, and says how long it will be until there are enough; for
// an n above the burst that moment never comes.
func (l *Limiter) AllowN(key string, n int) (ok bool, retryAfter time.Duration) {
	if l.cost == 0 || n <= 0 {
		return true, 0
	}
	s := &l.shards[maphash.String(l.seed, key)%shards]
	if wait := l.take(s, key, l.cost*time.Duration(n)); wait > 0 {
		l.obs.Metrics.RateLimited.Inc(l.which)
		return false, wait
	}
	return true, 0
}

func (l *Limiter) take(s *shard, key string, price time.Duration) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(l.start)
	full, known := s.full[key]
	full = max(full, now) + price
	if wait := full - now - l.most; wait > 0 {
		return wait
	}
	if !known && len(s.full) >= l.perShard {
		s.forget(now)
	}
	s.full[key] = full
	return 0
}

// forget drops the fullest bucket of a few. One that is full again is dropped
// without anybody noticing.
func (s *shard) forget(now time.Duration) {
	victim, least, seen := "", time.Duration(math.MaxInt64), 0
	for key, full := range s.full {
		if full < least {
			victim, least = key, full
		}
		if seen++; seen == sampled || least <= now {
			break
		}
	}
	delete(s.full, victim)
}

// Len is the number of keys that are held.
func (l *Limiter) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.full)
		s.mu.Unlock()
	}
	return n
}

// Exceeded says which limit refused. As the cause of a fault it lets package
// web answer with the limit's name and size.
type Exceeded struct {
	Limit obs.Limit
	Rate  Rate
	After time.Duration // until a repeat can succeed
}

// Exceeded describes a refusal of l.
func (l *Limiter) Exceeded(retryAfter time.Duration) *Exceeded {
	return &Exceeded{Limit: l.which, Rate: l.rate, After: retryAfter}
}

// Error names the limit.
func (e *Exceeded) Error() string { return fmt.Sprintf("limit %s is used up", e.Limit) }
