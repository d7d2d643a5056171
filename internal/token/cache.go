package token

import (
	"crypto/sha256"
	"sync"
)

// cache remembers proofs whose signature was right, by the SHA-256 of their
// text, so that memory holds no proof. It saves the signature check alone.
//
// Two generations make it bounded without a goroutine or a clock: when the young
// one is full it becomes the old one, and the old one is dropped.
type cache struct {
	mu         sync.Mutex // guards what follows
	young, old map[[sha256.Size]byte]verdict
}

type verdict struct {
	claims *claims
	ring   *ring // the set that it was checked with
}

// generation is the size of one; together they take about 10 MB when full.
const generation = 8192

func (c *cache) get(sum [sha256.Size]byte, r *ring) (*claims, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.young[sum]
	if !ok {
		if v, ok = c.old[sum]; ok {
			c.put(sum, v)
		}
	}
	return v.claims, ok && v.ring == r
}

func (c *cache) add(sum [sha256.Size]byte, claims *claims, r *ring) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(sum, verdict{claims, r})
}

func (c *cache) put(sum [sha256.Size]byte, v verdict) {
	if c.young == nil || len(c.young) >= generation {
		c.young, c.old = make(map[[sha256.Size]byte]verdict), c.young
	}
	c.young[sum] = v
}
