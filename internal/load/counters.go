package load

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/web"
)

// counters are what a node's admin listener says of its sends.
type counters map[string]int64

// counted are the metrics that a history carries, summed over their labels.
var counted = []string{
	"messages_accepted_total", "messages_committed_total", "messages_repeated_total",
	"messages_rejected_total", "messages_unknown_total", "message_deliveries_total",
}

// startOf tells one life of a process from the next.
const startOf = "process_start_time_seconds"

// noReason is the counter that must not rise, as a history names it.
const noReason = "message_delivery_failures_total.unknown"

// scrape reads the counters of each admin listener; nil for one that is away.
func (r *runner) scrape(ctx context.Context) []counters {
	var all []counters
	for _, base := range r.opts.Admins {
		c, err := scrape(ctx, base)
		if err != nil {
			r.meter.fail("metrics", err.Error())
		}
		all = append(all, c)
	}
	return all
}

func scrape(ctx context.Context, base string) (counters, error) {
	client, err := web.NewClient(base, web.ClientOptions{})
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	defer client.Close()
	answer, err := client.Raw(ctx, http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, fault.Newf(fault.CodeUnavailable, "the metrics of %s are not to be had: status %d", base, answer.Status)
	}
	return readCounters(answer.Body), nil
}

// readCounters reads Prometheus' text format.
func readCounters(body []byte) counters {
	c := counters{}
	for line := range bytes.Lines(body) {
		series, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		name, labels, _ := strings.Cut(series, "{")
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue // a comment, or labels with a space in them
		}
		c[name] += int64(f)
		if name == "message_delivery_failures_total" && labels == `reason="unknown"}` {
			c[noReason] = int64(f)
		}
	}
	return c
}

// counterRows notes how far the counters rose. Those of a node that was away or
// began again say nothing, so then there are no rows at all.
func (r *runner) counterRows(before, after []counters) {
	j := r.journal
	if j == nil {
		return
	}
	for i := range before {
		if before[i] == nil || after[i] == nil || before[i][startOf] != after[i][startOf] {
			return
		}
	}
	for i := range before {
		_, node, _ := strings.Cut(r.opts.Admins[i], "://")
		j.row("metrics")
		j.text("node", node)
		j.name("delta")
		open := byte('{')
		for _, name := range append(counted, noReason) {
			j.buf = strconv.AppendQuote(append(j.buf, open), name)
			j.buf = strconv.AppendInt(append(j.buf, ':'), after[i][name]-before[i][name], 10)
			open = ','
		}
		j.buf = append(j.buf, '}')
		j.time()
		j.end()
	}
}
