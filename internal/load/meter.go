package load

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency sums up a distribution, in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

const (
	shards  = 16
	longest = int64(10 * time.Minute / time.Microsecond) // of a histogram; longer ones count as that
	figures = 3                                          // significant ones
)

// recorder is a histogram in microseconds for many writers.
type recorder struct {
	shard [shards]struct {
		sync.Mutex
		h *hdrhistogram.Histogram
		_ [40]byte // keeps neighbours off the same cache line
	}
}

func (r *recorder) observe(by int, d time.Duration) {
	s := &r.shard[by%shards]
	s.Lock()
	defer s.Unlock()
	if s.h == nil {
		s.h = hdrhistogram.New(1, longest, figures)
	}
	_ = s.h.RecordValue(min(max(d.Microseconds(), 1), longest)) // within the range, so it cannot fail
}

func (r *recorder) latency() Latency {
	all := hdrhistogram.New(1, longest, figures)
	for i := range r.shard {
		s := &r.shard[i]
		s.Lock()
		if s.h != nil {
			all.Merge(s.h)
		}
		s.Unlock()
	}
	if all.TotalCount() == 0 {
		return Latency{}
	}
	at := func(q float64) float64 { return float64(all.ValueAtQuantile(q)) / 1000 }
	return Latency{all.TotalCount(), at(50), at(90), at(99), at(99.9), float64(all.Max()) / 1000}
}

// meter holds the figures of a run.
type meter struct {
	measuring atomic.Bool
	ack       recorder
	delivery  recorder
	connect   recorder

	acked, delivered      atomic.Int64 // from the start
	ackedIn, deliveredIn  atomic.Int64 // while measuring
	outstanding           atomic.Int64 // made and not complete
	connected, reconnects atomic.Int64
	attempts              atomic.Int64 // to come back, that failed

	mu     sync.Mutex // guards what follows
	errors map[string]int
	closes map[int]int
	first  string // what the first error said
}

func (m *meter) fail(code, detail string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errors[code]++
	if m.first == "" {
		m.first = detail
	}
}

func (m *meter) closed(code int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closes[code]++
}

// Progress is the state of a run, second by second.
type Progress struct {
	Phase       string        // connect, warm-up, measure, settle, verify
	At          time.Duration // since the first send
	Sends       int64         // answered in the last second
	Deliveries  int64         // in the last second
	Outstanding int64         // made and not yet answered and delivered to all
	Connected   int64
	Reconnects  int64
	Errors      int // error answers so far
	Ack         Latency
	Delivery    Latency
}

func (m *meter) errorCount() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.errors {
		n += c
	}
	return n
}
