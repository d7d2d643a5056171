package limit

import (
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
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
	tells    bool         // what is let through matters to other processes
	parts    atomic.Int64 // that the limit is split into; 1, but while processes cannot tell each other
	shards   [shards]shard
}

// shard holds, for each key, the moment since start at which its bucket will be
// full again (the theoretical arrival time of the generic cell rate algorithm):
// one number instead of a level and the time of its last change.
type shard struct {
	mu    sync.Mutex
	full  map[string]time.Duration
	spent map[string]int // let through here and not told to others; nil where nobody is told
}

// New makes a limiter; refusals are counted under which.
func New(o *obs.Obs, which obs.Limit, r Rate) *Limiter { return newSized(o, which, r, maxKeys) }

func newSized(o *obs.Obs, which obs.Limit, r Rate, keys int) *Limiter {
	l := &Limiter{obs: o, which: which, rate: r, perShard: max(keys/shards, 1), start: time.Now(), seed: maphash.MakeSeed()}
	if r.PerSecond > 0 {
		l.cost = time.Duration(math.Ceil(float64(time.Second) / r.PerSecond))
		l.most = l.cost * time.Duration(max(r.Burst, 1))
	}
	l.parts.Store(1)
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
	if wait := l.take(l.shardOf(key), key, n); wait > 0 {
		l.obs.Metrics.RateLimited.Inc(l.which)
		return false, wait
	}
	return true, 0
}

func (l *Limiter) shardOf(key string) *shard { return &l.shards[maphash.String(l.seed, key)%shards] }

// take takes n tokens at the price of the parts that the limit is split into.
func (l *Limiter) take(s *shard, key string, n int) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, one := time.Since(l.start), l.cost*time.Duration(l.parts.Load())
	most := max(l.most, one)
	full, known := s.full[key]
	if full = max(full, now); full > now+most { // tokens were dearer
		full = now + most
		s.full[key] = full
	}
	full += one * time.Duration(n)
	if wait := full - now - most; wait > 0 {
		return wait
	}
	if !known {
		s.makeRoom(l.perShard, now)
	}
	s.full[key] = full
	if l.tells {
		if s.spent == nil {
			s.spent = map[string]int{}
		}
		s.spent[key] += n
	}
	return 0
}

// charge takes from a bucket what another process let through; it never owes.
func (l *Limiter) charge(key string, n int) {
	if l.cost == 0 || n <= 0 {
		return
	}
	s := l.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(l.start)
	price := l.cost * time.Duration(min(n, int(l.most/l.cost)))
	full, known := s.full[key]
	if !known {
		s.makeRoom(l.perShard, now)
	}
	s.full[key] = min(max(full, now)+price, now+l.most)
}

// spent takes out what of the keys that others should hear of was let through
// here, of at most so many keys. What a bucket has refilled since is left out.
func (l *Limiter) spent(most int) map[string]int {
	out := map[string]int{}
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		now := time.Since(l.start)
		for key, n := range s.spent {
			missing := s.full[key] - now
			switch {
			case missing <= 0:
				delete(s.spent, key)
			case missing >= l.most/4 && len(out) < most:
				out[key] = min(n, int((missing+l.cost-1)/l.cost))
				delete(s.spent, key)
			}
		}
		s.mu.Unlock()
	}
	return out
}

func (s *shard) makeRoom(most int, now time.Duration) {
	if len(s.full) >= most {
		s.forget(now)
	}
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
