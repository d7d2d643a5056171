package user

import (
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

const (
	cacheRoom = 8192
	cacheLife = 30 * time.Second // how stale another node's change may be
)

// cache holds profiles for a while. When it is full it starts anew: simple, and
// its misses cost a read of a local index.
type cache struct {
	metrics *obs.Metrics

	mu    sync.Mutex // guards what follows
	known map[string]cached
	drops int64 // how often something was dropped
}

type cached struct {
	profile
	until time.Time
}

func newCache(o *obs.Obs) *cache {
	return &cache{metrics: o.Metrics, known: map[string]cached{}}
}

// get gives what is known, the set of what is not, and a mark for put.
func (c *cache) get(ids []string) (found []profile, missing map[string]bool, mark int64) {
	now := time.Now()
	missing = map[string]bool{}
	seen := make(map[string]bool, len(ids))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range ids {
		if seen[one] {
			continue
		}
		seen[one] = true
		if e, ok := c.known[one]; ok && now.Before(e.until) {
			c.metrics.CacheRequests.Inc(obs.CacheProfiles, obs.CacheHit)
			found = append(found, e.profile)
			continue
		}
		c.metrics.CacheRequests.Inc(obs.CacheProfiles, obs.CacheMiss)
		missing[one] = true
	}
	return found, missing, c.drops
}

// put keeps what was read since get gave the mark, unless something was dropped
// in between: it may have been read before the change.
func (c *cache) put(fresh []profile, mark int64) {
	until := time.Now().Add(cacheLife)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drops != mark {
		return
	}
	for _, p := range fresh {
		if len(c.known) >= cacheRoom {
			clear(c.known)
		}
		c.known[p.id] = cached{p, until}
	}
}

func (c *cache) drop(userID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	delete(c.known, userID)
}
