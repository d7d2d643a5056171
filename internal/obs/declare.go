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
	reg *prometheus.Registry

	mu       sync.Mutex // taken by what is declared while a process is put together
	families []*Family
}

// domain gives a closed Go type its label name.
func domain[L Label](name string) Domain { return Domain{name, valuesOf[L]()} }

// stored is the label of what only services with a database have. They are the
// first ones; the others get a series here with their first table.
func stored() Domain {
	all := valuesOf[Service]()
	return Domain{"service", all[:Notification]}
}

func (d *declarer) note(f Family) *Family {
	f.cells = product(f.Labels)
	d.families = append(d.families, &f)
	return &f
}

// product lists all combinations of label values, the last label fastest.
func product(domains []Domain) [][]string {
	out := [][]string{nil}
	for _, dom := range domains {
		var next [][]string
		for _, head := range out {
			for _, v := range dom.Values {
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
	for _, values := range f.cells {
		cells = append(cells, vec.WithLabelValues(values...))
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
	for _, values := range f.cells {
		cell, consts := new(gaugeCell), prometheus.Labels{}
		for i, v := range values {
			consts[labels[i].Name] = v
		}
		cells = append(cells, cell)
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
	var cells []prometheus.Observer
	for _, values := range f.cells {
		cells = append(cells, vec.WithLabelValues(values...))
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
