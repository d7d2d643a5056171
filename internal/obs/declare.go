package obs

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// declarer makes metrics and notes each in the catalogue. All children are made
// at once: a series that appears with its first event has no increase.
type declarer struct {
	reg   *prometheus.Registry
	local func(Service) bool // whether the process runs the service

	mu       sync.Mutex // taken by what is declared while a process is put together
	families []*Family
}

// domain gives a closed Go type its label name.
func domain[L Label](name string) Domain { return Domain{Name: name, Values: valuesOf[L]()} }

// owned is a closed set of which a process has the values of its own services
// alone: the others would be series that nothing moves. owner says whose a
// value is, Process if it is everybody's.
func owned[L Label](d *declarer, name string, owner func(L) Service) Domain {
	dom := Domain{Name: name, all: valuesOf[L]()}
	for i, v := range dom.all {
		if d.local(owner(L(i))) {
			dom.Values = append(dom.Values, v)
		}
	}
	return dom
}

// stored is the label of what only services with a database have. They are the
// first ones; the others get a series here with their first table.
func (d *declarer) stored() Domain {
	dom := owned(d, "service", func(s Service) Service { return s })
	dom.all = dom.all[:Notification]
	dom.Values = slices.DeleteFunc(dom.Values, func(v string) bool { return !slices.Contains(dom.all, v) })
	return dom
}

// of declares what one service alone moves. In a process without it the metrics
// exist, so that nobody has to ask, and are neither scraped nor in the catalogue.
func (d *declarer) of(s Service) *declarer {
	if d.local(s) {
		return d
	}
	return &declarer{reg: prometheus.NewRegistry(), local: d.local}
}

// when says of the families from the given one on in which processes they are.
func (d *declarer) when(text string, from int) {
	for _, f := range d.families[from:] {
		f.When = text
	}
}

func (d *declarer) note(f Family) *Family {
	f.cells = slices.DeleteFunc(product(f.Labels), func(cell []string) bool { return !f.has(cell) })
	d.families = append(d.families, &f)
	return &f
}

// has says whether the process has that child.
func (f *Family) has(cell []string) bool {
	for i, v := range cell {
		if !slices.Contains(f.Labels[i].Values, v) {
			return false
		}
	}
	return true
}

// product lists all combinations of label values, the last label fastest, those
// that the process does not have included: a child's place is its number.
func product(domains []Domain) [][]string {
	out := [][]string{nil}
	for _, dom := range domains {
		values := dom.all
		if values == nil {
			values = dom.Values
		}
		var next [][]string
		for _, head := range out {
			for _, v := range values {
				next = append(next, append(append([]string(nil), head...), v))
			}
		}
		out = next
	}
	return out
}

func labelNames(domains []Domain) []string {
	var names []string
	for _, d := range domains {
		names = append(names, d.Name)
	}
	return names
}

func (d *declarer) counters(name, help string, labels ...Domain) []prometheus.Counter {
	f := d.note(Family{Name: name, Type: "counter", Help: help, Labels: labels})
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labelNames(labels))
	d.reg.MustRegister(vec)
	var cells []prometheus.Counter
	for _, values := range product(labels) {
		if f.has(values) {
			cells = append(cells, vec.WithLabelValues(values...))
		} else {
			cells = append(cells, prometheus.NewCounter(prometheus.CounterOpts{Name: name}))
		}
	}
	return cells
}

// some are those values of a closed set that can occur at a place: the others
// would be series that never move. One of them that occurs all the same is a
// defect of the list; it counts as rest and adds no series.
type some[L Label] struct {
	label  string
	values []L
	rest   L
}

func counterOf[L Label](d *declarer, name, help string, by some[L]) CounterBy[L] {
	dom := Domain{Name: by.label}
	for _, l := range by.values {
		dom.Values = append(dom.Values, l.String())
	}
	made := d.counters(name, help, dom)
	cells := slices.Repeat([]prometheus.Counter{made[slices.Index(by.values, by.rest)]}, len(valuesOf[L]()))
	for i, l := range by.values {
		cells[l] = made[i]
	}
	return CounterBy[L]{cells}
}

func (d *declarer) gauges(name, unit, help string, labels ...Domain) []*gaugeCell {
	f := d.note(Family{Name: name, Type: "gauge", Unit: unit, Help: help, Labels: labels})
	var cells []*gaugeCell
	for _, values := range product(labels) {
		cell, consts := new(gaugeCell), prometheus.Labels{}
		cells = append(cells, cell)
		if !f.has(values) {
			continue
		}
		for i, v := range values {
			consts[labels[i].Name] = v
		}
		d.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: consts}, cell.read))
	}
	return cells
}

// histograms makes classic histograms. The four that the service levels are
// read from (native) also carry native buckets, for a Prometheus that scrapes them.
func (d *declarer) histograms(name, help string, native bool, bounds []float64, labels ...Domain) []prometheus.Observer {
	f := d.note(Family{Name: name, Type: "histogram", Unit: "seconds", Help: help, Labels: labels, Bounds: bounds})
	vec := newHistogramVec(name, help, native, bounds, labels)
	d.reg.MustRegister(vec)
	aside := newHistogramVec(name, help, false, bounds, labels)
	var cells []prometheus.Observer
	for _, values := range product(labels) {
		if f.has(values) {
			cells = append(cells, vec.WithLabelValues(values...))
		} else {
			cells = append(cells, aside.WithLabelValues(values...))
		}
	}
	return cells
}

func newHistogramVec(name, help string, native bool, bounds []float64, labels []Domain) *prometheus.HistogramVec {
	opts := prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}
	if native {
		opts.NativeHistogramBucketFactor = 1.1
		opts.NativeHistogramMaxBucketNumber = 160
		opts.NativeHistogramMinResetDuration = time.Hour
	}
	return prometheus.NewHistogramVec(opts, labelNames(labels))
}
