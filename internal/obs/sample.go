package obs

import (
	"sync/atomic"
	"time"
)

const (
	sampleFirst = 10  // lines per second and site that are always kept
	sampleEvery = 100 // of the rest, one in so many
)

// maxSites is the room for sites; a test compares it with the closed set.
const maxSites = 16

// sampler keeps a count per site and second. The count and its second share one
// word, so that deciding costs one compare-and-swap and no allocation.
type sampler struct{ cells [maxSites]atomic.Uint64 }

func (s *sampler) keep(site Site) bool { return s.keepAt(site, uint64(time.Now().Unix())) }

func (s *sampler) keepAt(site Site, second uint64) bool {
	cell := &s.cells[site]
	for {
		old := cell.Load()
		n := old&0xffffffff + 1
		if old>>32 != second&0xffffffff {
			n = 1
		}
		if cell.CompareAndSwap(old, second<<32|n) {
			return n <= sampleFirst || n%sampleEvery == 0
		}
	}
}
