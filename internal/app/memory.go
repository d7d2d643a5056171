package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// gcPercent lets the heap grow to five times what is live before it is
// collected: the live heap of a busy node is small and its garbage plenty, so
// collecting at twice the live heap would cost a tenth of the processor.
const gcPercent = 400

const (
	tidyEvery = 2 * time.Second
	tidyQuiet = 4 << 20  // bytes allocated in tidyEvery below which the node is quiet
	tidyWorth = 16 << 20 // bytes that the heap must have grown by for tidying to be worth it
)

// tidyMemory gives the memory of a burst back to the system once the node is
// quiet again: what a thousand handshakes left behind would otherwise stay
// resident until the next collection.
func (a *App) tidyMemory(ctx context.Context) {
	old := debug.SetGCPercent(gcPercent)
	defer debug.SetGCPercent(old)
	t := time.NewTicker(tidyEvery)
	defer t.Stop()
	m := newHeapMeter()
	m.quiet()
	m.floor = m.heap()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if m.quiet() && m.heap() > m.floor+tidyWorth {
			debug.FreeOSMemory()
			m.floor = m.heap()
		}
	}
}

// heapMeter reads the runtime's own counts.
type heapMeter struct {
	samples   []metrics.Sample
	allocated uint64
	floor     uint64 // the heap after the last tidying
}

func newHeapMeter() *heapMeter {
	return &heapMeter{samples: []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}}
}

// quiet says whether little was allocated since it was last asked.
func (m *heapMeter) quiet() bool {
	metrics.Read(m.samples)
	now := m.samples[0].Value.Uint64()
	quiet := now-m.allocated < tidyQuiet
	m.allocated = now
	m.floor = min(m.floor, m.heap())
	return quiet
}

// heap is what the heap holds of the system's memory, in use or not.
func (m *heapMeter) heap() uint64 { return m.samples[1].Value.Uint64() + m.samples[2].Value.Uint64() }
