package obs

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// calls makes the metrics of calls between services. Like a route, a service
// gets its series while the process is put together: when it is connected to.
type calls struct {
	outcomes *prometheus.CounterVec
	duration *prometheus.HistogramVec
	counted  *Family
	timed    *Family
	made     map[Service]*Calls
}

// Calls counts and times the calls to one service.
type Calls struct {
	Outcomes CounterBy[Outcome]
	Duration Histogram
}

func (c *calls) declare(d *declarer) {
	const outcomes, duration = "rpc_calls_total", "rpc_call_duration_seconds"
	const outcomesHelp = "Calls between services, by the service called and the outcome."
	const durationHelp = "Duration of calls between services, by the service called."
	labels := []Domain{{Name: "service"}, domain[Outcome]("outcome")}
	c.outcomes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: outcomes, Help: outcomesHelp}, labelNames(labels))
	c.duration = newHistogramVec(duration, durationHelp, false, storeBounds, labels[:1])
	d.reg.MustRegister(c.outcomes, c.duration)
	c.counted = &Family{Name: outcomes, Type: "counter", Help: outcomesHelp, Labels: labels}
	c.timed = &Family{Name: duration, Type: "histogram", Unit: "seconds", Help: durationHelp, Labels: slices.Clone(labels[:1]), Bounds: storeBounds}
	d.families = append(d.families, c.counted, c.timed)
	c.made = map[Service]*Calls{}
}

// Calls adds the series of calls to a service; asked again it gives the same.
func (m *Metrics) Calls(s Service) *Calls {
	m.declared.mu.Lock()
	defer m.declared.mu.Unlock()
	c := &m.calls
	if made := c.made[s]; made != nil {
		return made
	}
	name, made := s.String(), &Calls{}
	extend(&c.counted.Labels[0], name)
	extend(&c.timed.Labels[0], name)
	for _, o := range outcomeNames {
		c.counted.cells = append(c.counted.cells, []string{name, o})
		made.Outcomes.cells = append(made.Outcomes.cells, c.outcomes.WithLabelValues(name, o))
	}
	c.timed.cells = append(c.timed.cells, []string{name})
	made.Duration.cell = c.duration.WithLabelValues(name)
	c.made[s] = made
	return made
}

// blobReasons are the reasons for which an object store fails.
var blobReasons = []StoreReason{StoreFull, StoreTimeout, StoreCanceled, StoreUnreachable, StoreCorrupt, StoreUnknown}

// Blobs adds the failures of object stores, when the first is opened; asked
// again it gives the same.
func (m *Metrics) Blobs() CounterBy[StoreReason] {
	m.declared.mu.Lock()
	defer m.declared.mu.Unlock()
	if m.blobs == nil {
		made := counterOf(m.declared, "blob_failures_total", "Object store operations that failed, by reason.", some[StoreReason]{"reason", blobReasons, StoreUnknown})
		m.blobs = &made
	}
	return *m.blobs
}
