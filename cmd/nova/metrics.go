package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
)

type metricsCommand struct {
	Catalogue metricsCatalogue `cmd:"" help:"List every metric with its labels and all their values."`
	Budget    metricsBudget    `cmd:"" help:"Count the series of a process; exit 1 above the budget."`
}

type metricsCatalogue struct {
	JSON bool `help:"As JSON."`
}

// Run lists the catalogue.
func (c *metricsCatalogue) Run(std streams) error {
	m, _, err := app.Catalogue(config.Default())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, m.Families())
	}
	for _, f := range m.Families() {
		_, _ = fmt.Fprintf(std.out, "%s  %s, %d series\n    %s\n", f.Name, f.Type, f.Series(), f.Help)
		for _, l := range f.Labels {
			_, _ = fmt.Fprintf(std.out, "    %s: %s\n", l.Name, strings.Join(l.Values, " "))
		}
	}
	return nil
}

// The budget: Prometheus is fine with far more, but a number that nobody
// watches only grows.
const (
	goalPerProcess = 1000
	mostInAll      = 5000
)

type metricsBudget struct {
	JSON bool `help:"As JSON."`
}

type budget struct {
	Series   int             `json:"series"` // of one process that runs everything
	Apart    []serviceSeries `json:"apart"`  // of processes that run one service each
	Goal     int             `json:"goal"`
	Most     int             `json:"most"`
	Families []familySeries  `json:"families"`
}

type serviceSeries struct {
	Service string `json:"service"`
	Series  int    `json:"series"`
}

type familySeries struct {
	Name   string `json:"name"`
	Series int    `json:"series"`
}

// Run counts the series. The number holds whatever clients send, since every
// label has a closed set of values.
func (c *metricsBudget) Run(std streams) error {
	m, _, err := app.Catalogue(config.Default())
	if err != nil {
		return err
	}
	b := countSeries(m)
	if b.Apart, err = countApart(); err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(std.out, b)
	} else {
		err = b.print(std)
	}
	if err == nil && b.Series > mostInAll {
		return exitCode(exitFailed)
	}
	return err
}

func countSeries(m *obs.Metrics) budget {
	b := budget{Goal: goalPerProcess, Most: mostInAll}
	for _, f := range m.Families() {
		b.Series += f.Series()
		b.Families = append(b.Families, familySeries{f.Name, f.Series()})
	}
	slices.SortStableFunc(b.Families, func(x, y familySeries) int { return cmp.Compare(y.Series, x.Series) })
	return b
}

// countApart counts the series of services in processes of their own, which call
// each other under mutual TLS.
func countApart() (all []serviceSeries, err error) {
	for _, s := range obs.Services() {
		cfg := config.Default()
		cfg.Services, cfg.RPCIdentity = []obs.Service{s}, "a certificate"
		m, _, err := app.Catalogue(cfg)
		if err != nil {
			return nil, err
		}
		all = append(all, serviceSeries{s.String(), len(m.Static())})
	}
	return all, nil
}

func (b budget) print(std streams) error {
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, f := range b.Families {
		_, _ = fmt.Fprintf(w, "%d\t  %s\n", f.Series, f.Name)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.out, "%d series per process, whatever clients send (goal %d, at most %d); the Go runtime adds a few dozen\n", b.Series, b.Goal, b.Most)
	for _, s := range b.Apart {
		if err == nil {
			_, err = fmt.Fprintf(std.out, "%d in a process that runs %s alone\n", s.Series, s.Service)
		}
	}
	return err
}
