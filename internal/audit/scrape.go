package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sample is one series and its value.
type sample struct {
	name   string
	labels map[string]string
	value  float64
}

// scrape is what /metrics gave, by the canonical text of each series:
// name{label="value",...} with the labels sorted.
type scrape map[string]sample

// scrape gives the sums over all processes: what a client does may be counted
// in any of them.
func (t *target) scrape(ctx context.Context) (scrape, error) {
	all, err := t.scrapes(ctx)
	if err != nil {
		return nil, err
	}
	sum := scrape{}
	for _, one := range all {
		for series, s := range one {
			s.value += sum[series].value
			sum[series] = s
		}
	}
	return sum, nil
}

// scrapes gives what each process shows, in the order of [Options.Admins].
func (t *target) scrapes(ctx context.Context) (all []scrape, err error) {
	for i, admin := range t.admins {
		a, err := admin.Raw(ctx, http.MethodGet, "/metrics", nil, nil)
		if err == nil && a.Status != http.StatusOK {
			err = a.Fault()
		}
		if err != nil {
			return nil, fmt.Errorf("%s/metrics: %w", t.opts.Admins[i], err)
		}
		one, err := parse(a.Body)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

var errFormat = errors.New("a line of the metrics is not in the text format")

// parse reads the text format of Prometheus, version 0.0.4.
func parse(text []byte) (scrape, error) {
	all := scrape{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseLine(line)
		if err != nil {
			return nil, err
		}
		all[seriesName(s.name, s.labels)] = s
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	if len(all) == 0 {
		return nil, errors.New("the metrics are empty")
	}
	return all, nil
}

func parseLine(line string) (s sample, err error) {
	end := strings.IndexAny(line, "{ ")
	if end <= 0 {
		return s, errFormat
	}
	s.name = line[:end]
	rest := line[end:]
	if rest[0] == '{' {
		if s.labels, rest, err = parseLabels(rest[1:]); err != nil {
			return s, err
		}
	}
	fields := strings.Fields(rest) // the value, and perhaps a time
	if len(fields) == 0 {
		return s, errFormat
	}
	if s.value, err = strconv.ParseFloat(fields[0], 64); err != nil {
		return s, errFormat
	}
	return s, nil
}

// parseLabels reads label="value" pairs up to the closing brace.
func parseLabels(text string) (labels map[string]string, rest string, err error) {
	labels = map[string]string{}
	for {
		text = strings.TrimLeft(text, ", ")
		if after, ok := strings.CutPrefix(text, "}"); ok {
			return labels, after, nil
		}
		name, after, ok := strings.Cut(text, "=")
		if !ok {
			return nil, "", errFormat
		}
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return nil, "", errFormat
		}
		if labels[name], err = strconv.Unquote(quoted); err != nil {
			return nil, "", errFormat
		}
		text = after[len(quoted):]
	}
}

func seriesName(name string, labels map[string]string) string {
	if len(labels) == 0 {
		return name
	}
	var pairs []string
	for k, v := range labels {
		pairs = append(pairs, k+"="+strconv.Quote(v))
	}
	slices.Sort(pairs)
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// value gives a series by its name and label pairs; ok is false if it is missing.
func (s scrape) value(name string, pairs ...string) (v float64, ok bool) {
	labels := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		labels[pairs[i]] = pairs[i+1]
	}
	one, ok := s[seriesName(name, labels)]
	return one.value, ok
}

// by gives the values of a metric by one of its labels, summed over the others.
func (s scrape) by(name, label string) map[string]float64 {
	out := map[string]float64{}
	for _, one := range s {
		if one.name == name {
			out[one.labels[label]] += one.value
		}
	}
	return out
}

// names is the sorted set of series.
func (s scrape) names() []string { return slices.Sorted(maps.Keys(s)) }

// moved gives what changed between two states of a metric, by label value.
func moved(before, after map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for k, v := range after {
		if d := v - before[k]; d != 0 {
			out[k] = d
		}
	}
	return out
}

// show is a map in a fixed order, for receipts.
func show(m map[string]float64) string {
	if len(m) == 0 {
		return "nothing"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %+g", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

// counting are the metrics that show whether somebody else is at work.
var counting = []string{"messages_accepted_total", "message_deliveries_total", "ws_closes_total", "login_failures_total", "logins_total", "active_connections", "identity_refusals_total"}

// rest waits until nothing moves for a second, and gives the state; others'
// traffic is a reason not to judge exact counts.
func (t *target) rest(ctx context.Context) (scrape, error) {
	const tries = 5
	last, err := t.scrape(ctx)
	for try := 0; ; try++ {
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, time.Second); err != nil {
			return nil, err
		}
		var now scrape
		if now, err = t.scrape(ctx); err != nil {
			return nil, err
		}
		busy := ""
		for _, name := range counting {
			if d := moved(last.by(name, "reason"), now.by(name, "reason")); len(d) > 0 {
				busy = fmt.Sprintf("%s: %s", name, show(d))
			}
		}
		if busy == "" {
			return now, nil
		}
		if try == tries {
			return nil, cannot("others are using the deployment (%s within a second at rest), so exact counts cannot be judged", busy)
		}
		last = now
	}
}
