package obs

import (
	"fmt"
	"slices"
	"strings"
)

// Document is the reference of all metrics, in Markdown.
func (m *Metrics) Document() string {
	var b strings.Builder
	families := m.Families()
	slices.SortFunc(families, func(x, y *Family) int { return strings.Compare(x.Name, y.Name) })
	total := 0
	for _, f := range families {
		if f.When == "" {
			total += f.Series()
		}
	}
	fmt.Fprintf(&b, "# Metrics\n\nMade from the catalogue in `internal/obs/metrics.go` by `make generate`; do not edit.\n\n")
	fmt.Fprintf(&b, "A process that runs all services has **%d series** of its own, whatever clients send, and a few dozen of the\nGo runtime (`go_*`, `process_*`). Every series exists from the first scrape. `nova metrics budget` counts them.\n\n"+
		"A process that runs some of the services has what these can move, and nothing that stays at 0 for ever.\n\n", total)
	fmt.Fprintf(&b, "| metric | type | labels | series | meaning |\n|---|---|---|---|---|\n")
	for _, f := range families {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %d | %s |\n", f.Name, f.kind(), f.labels(), f.Series(), f.meaning())
	}
	b.WriteString("\n## Label values\n\n")
	for _, f := range families {
		for _, l := range f.Labels {
			values := slices.Sorted(slices.Values(l.Values))
			fmt.Fprintf(&b, "- `%s{%s}`: %s\n", f.Name, l.Name, "`"+strings.Join(values, "` `")+"`")
		}
	}
	return b.String()
}

func (f *Family) meaning() string {
	if f.When != "" {
		return f.Help + " Only " + f.When + "."
	}
	return f.Help
}

func (f *Family) kind() string {
	if f.Unit != "" {
		return f.Type + ", " + f.Unit
	}
	return f.Type
}

func (f *Family) labels() string {
	if len(f.Labels) == 0 {
		return "–"
	}
	return "`" + strings.Join(labelNames(f.Labels), "` `") + "`"
}
