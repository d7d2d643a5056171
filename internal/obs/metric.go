package obs

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Family describes one metric of the catalogue.
type Family struct {
	Name   string     `json:"name"`
	Type   string     `json:"type"` // counter, gauge or histogram
	Unit   string     `json:"unit"` // "" for plain counts
	Help   string     `json:"help"`
	When   string     `json:"when,omitempty"` // in which processes; "" = in all that run its service
	Labels []Domain   `json:"labels,omitempty"`
	Bounds []float64  `json:"bounds,omitempty"` // upper bounds of a histogram's buckets
	cells  [][]string // the label values of each child
}

// Domain is a label and all the values it can ever have in this process.
type Domain struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
	all    []string // in any process; nil if that is the same
}

// Series is the number of series of the family; it never changes.
func (f *Family) Series() int { return len(f.cells) * f.perCell() }

func (f *Family) perCell() int {
	if f.Type == "histogram" {
		return len(f.Bounds) + 3 // +Inf, _sum, _count
	}
	return 1
}

// names lists every series of the family as name{label="value",...}.
func (f *Family) names() []string {
	var out []string
	for _, cell := range f.cells {
		var pairs []string
		for i, v := range cell {
			pairs = append(pairs, f.Labels[i].Name+"="+strconv.Quote(v))
		}
		if f.Type != "histogram" {
			out = append(out, seriesName(f.Name, pairs))
			continue
		}
		for _, b := range append(slices.Clone(f.Bounds), math.Inf(1)) {
			le := "le=" + strconv.Quote(formatBound(b))
			out = append(out, seriesName(f.Name+"_bucket", append(slices.Clone(pairs), le)))
		}
		out = append(out, seriesName(f.Name+"_sum", pairs), seriesName(f.Name+"_count", pairs))
	}
	return out
}

func seriesName(name string, pairs []string) string {
	if len(pairs) == 0 {
		return name
	}
	sorted := slices.Sorted(slices.Values(pairs))
	return name + "{" + strings.Join(sorted, ",") + "}"
}

func formatBound(b float64) string {
	if math.IsInf(b, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(b, 'g', -1, 64)
}

// Counter only goes up.
type Counter struct{ cell prometheus.Counter }

// Inc adds one.
func (c Counter) Inc() { c.cell.Inc() }

// Add adds n, which must not be negative.
func (c Counter) Add(n int) { c.cell.Add(float64(n)) }

// CounterBy is a counter for each value of a closed set.
type CounterBy[L Label] struct{ cells []prometheus.Counter }

// Inc adds one to the cell of l.
func (c CounterBy[L]) Inc(l L) { c.cells[l].Inc() }

// Add adds n, which must not be negative, to the cell of l.
func (c CounterBy[L]) Add(l L, n int) { c.cells[l].Add(float64(n)) }

// CounterBy2 is a counter for each pair of values of two closed sets.
type CounterBy2[A, B Label] struct {
	cells []prometheus.Counter
	width int
}

// Inc adds one to the cell of a and b.
func (c CounterBy2[A, B]) Inc(a A, b B) { c.cells[int(a)*c.width+int(b)].Inc() }

// Gauge goes up and down.
type Gauge struct{ cell *gaugeCell }

// Set replaces the value.
func (g Gauge) Set(v float64) { g.cell.value.Store(math.Float64bits(v)) }

// Pull makes the gauge ask f at every scrape; f must be quick and safe for
// concurrent use. Counting what is there cannot drift as adding and taking away can.
func (g Gauge) Pull(f func() float64) { g.cell.pull.Store(&f) }

// GaugeBy is a gauge for each value of a closed set.
type GaugeBy[L Label] struct{ cells []*gaugeCell }

// Set replaces the value of the cell of l.
func (g GaugeBy[L]) Set(l L, v float64) { Gauge{g.cells[l]}.Set(v) }

// Pull makes the cell of l ask f at every scrape.
func (g GaugeBy[L]) Pull(l L, f func() float64) { Gauge{g.cells[l]}.Pull(f) }

type gaugeCell struct {
	value atomic.Uint64
	pull  atomic.Pointer[func() float64]
}

func (g *gaugeCell) read() float64 {
	if f := g.pull.Load(); f != nil {
		return (*f)()
	}
	return math.Float64frombits(g.value.Load())
}

// Histogram observes durations in seconds.
type Histogram struct{ cell prometheus.Observer }

// Observe counts one duration.
func (h Histogram) Observe(d time.Duration) { h.cell.Observe(d.Seconds()) }

// HistogramBy is a histogram for each value of a closed set.
type HistogramBy[L Label] struct{ cells []prometheus.Observer }

// Observe counts one duration in the cell of l.
func (h HistogramBy[L]) Observe(l L, d time.Duration) { h.cells[l].Observe(d.Seconds()) }

// HistogramBy2 is a histogram for each pair of values of two closed sets.
type HistogramBy2[A, B Label] struct {
	cells []prometheus.Observer
	width int
}

// Observe counts one duration in the cell of a and b.
func (h HistogramBy2[A, B]) Observe(a A, b B, d time.Duration) {
	h.cells[int(a)*h.width+int(b)].Observe(d.Seconds())
}
