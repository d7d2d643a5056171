package obs

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Unmatched is the route label of requests that match no route.
const Unmatched = "unmatched"

// Class is the class of an HTTP status: the status label.
type Class uint8

// The classes of http_requests_total.
const (
	Class1xx Class = iota
	Class2xx
	Class3xx
	Class4xx
	Class5xx
)

var classNames = []string{"1xx", "2xx", "3xx", "4xx", "5xx"}

func (c Class) String() string { return nameAt(classNames, uint8(c)) }

// ClassOf is the class of a status; a status outside 100-599 counts as 5xx.
func ClassOf(status int) Class {
	if status < 100 || status > 599 {
		return Class5xx
	}
	return Class(status/100 - 1)
}

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// methodLabel closes the set of methods, which clients could otherwise extend.
func methodLabel(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return "other"
}

// routes makes the HTTP metrics. They differ from the others in that their
// label values come from the routes registered at start; only the classes that
// a route declares get a series.
type routes struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	counted   *Family
	timed     *Family
	unmatched map[string]prometheus.Counter // by method label, read-only
}

// Route counts the requests of one route.
type Route struct {
	cells [5]prometheus.Counter
	time  prometheus.Observer
}

func (r *routes) declare(d *declarer) {
	const requests, duration = "http_requests_total", "http_request_duration_seconds"
	const requestsHelp = "HTTP requests, by method, registered route and class of status."
	const durationHelp = "Duration of HTTP requests, by registered route; upgrades to WebSocket are left out."
	labels := []Domain{{Name: "method"}, {Name: "route"}, {Name: "status"}}
	r.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: requests, Help: requestsHelp}, labelNames(labels))
	r.duration = newHistogramVec(duration, durationHelp, false, routeBounds, labels[1:2])
	d.reg.MustRegister(r.requests, r.duration)
	r.counted = &Family{Name: requests, Type: "counter", Help: requestsHelp, Labels: labels}
	r.timed = &Family{Name: duration, Type: "histogram", Unit: "seconds", Help: durationHelp, Labels: slices.Clone(labels[1:2]), Bounds: routeBounds}
	d.families = append(d.families, r.counted, r.timed)
	r.unmatched = map[string]prometheus.Counter{}
	for _, m := range append(slices.Clone(methods), "other") {
		r.unmatched[m] = r.cell(m, Unmatched, Class4xx)
	}
}

func (r *routes) cell(method, route string, c Class) prometheus.Counter {
	values := []string{method, route, c.String()}
	r.counted.cells = append(r.counted.cells, values)
	for i, v := range values {
		extend(&r.counted.Labels[i], v)
	}
	return r.requests.WithLabelValues(values...)
}

func extend(d *Domain, v string) {
	if !slices.Contains(d.Values, v) {
		d.Values = append(d.Values, v)
	}
}

// Route adds a route at start. pattern is the registered path, such as
// /api/v1/users/{id}; classes are the classes of status that it can answer.
func (m *Metrics) Route(method, pattern string, classes ...Class) *Route {
	m.declared.mu.Lock()
	defer m.declared.mu.Unlock()
	r := &m.routes
	for _, have := range r.counted.cells {
		if have[0] == method && have[1] == pattern {
			panic(fmt.Sprintf("route %s %s is registered twice", method, pattern))
		}
	}
	route := &Route{}
	for _, c := range classes {
		if route.cells[c] == nil {
			route.cells[c] = r.cell(methodLabel(method), pattern, c)
		}
	}
	if !slices.Contains(r.timed.Labels[0].Values, pattern) {
		extend(&r.timed.Labels[0], pattern)
		r.timed.cells = append(r.timed.cells, []string{pattern})
	}
	route.time = r.duration.WithLabelValues(pattern)
	return route
}

// Done counts one answered request. A class that the route did not declare is
// counted as 5xx if that is declared, else as the last declared class: it is a
// defect of the declaration, and must not add a series.
func (r *Route) Done(status int, took time.Duration) {
	c := ClassOf(status)
	for _, try := range []Class{c, Class5xx, Class4xx, Class2xx, Class1xx} {
		if r.cells[try] != nil {
			r.cells[try].Inc()
			break
		}
	}
	if c != Class1xx {
		r.time.Observe(took.Seconds())
	}
}

// UnmatchedRequest counts a request that matched no route.
func (m *Metrics) UnmatchedRequest(method string) { m.routes.unmatched[methodLabel(method)].Inc() }
