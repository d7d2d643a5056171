package audit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"time"
)

// The names that promises 3 and 6 fix, and that must answer a bare query.
var (
	namesOfRates  = []string{"global_message_rate_per_second", "db_connections_active", "db_connections_idle", "queue_consumer_rate_per_second", "queue_processing_lag_messages"}
	namesOfLevels = []string{"message_e2e_latency_seconds", "ws_connection_establish_time_seconds", "message_delivery_failure_rate", "cache_hit_rate", "active_connections"}
)

// serviceLevels compares what the server measures with what a probe measures
// from outside.
func (t *target) serviceLevels(ctx context.Context, c *Check) error {
	if err := t.answers(ctx, c, append(slices.Clone(namesOfRates), namesOfLevels...)...); err != nil {
		return err
	}
	people, err := t.accounts(ctx, 4)
	if err != nil {
		return err
	}
	p := &probe{t: t, c: c}
	if p.conversation, err = people[0].converse(ctx, "", people[1]); err != nil {
		return err
	}
	if err := p.catchUp(ctx, people); err != nil {
		return err
	}
	atRest, err := t.rest(ctx)
	if err != nil {
		return err
	}
	defer p.hangUp()
	if err := p.sockets(ctx, people, atRest); err != nil {
		return err
	}
	if err := p.latency(ctx, 40, 0); err != nil {
		return err
	}
	if err := p.latency(ctx, 7, injected); err != nil {
		return err
	}
	if err := p.unacknowledged(ctx); err != nil {
		return err
	}
	return p.closing(ctx)
}

// injected is how long the probe holds acknowledgements back in its second run:
// the measured median must follow.
const injected = 300 * time.Millisecond

// probe is an instrument of its own on both ends of a conversation.
type probe struct {
	t            *target
	c            *Check
	conversation string
	open         []*socket
}

func (p *probe) hangUp() {
	for _, s := range p.open {
		s.bye()
	}
	p.open = nil
}

// catchUp acknowledges what the devices have missed, such as what other checks
// sent, so that it does not count with the probe's own messages.
func (p *probe) catchUp(ctx context.Context, people []*device) error {
	for _, d := range people {
		s, before, err := d.connect(ctx, nil, "")
		if err != nil {
			return err
		}
		missed := map[string]int64{}
		for _, f := range before {
			if f.Op == "message" {
				missed[f.Message.ConversationID] = f.Message.Seq
			}
		}
		for conversation, seq := range missed {
			if err := s.ack(conversation, seq); err != nil {
				return err
			}
		}
		s.bye()
	}
	return nil
}

// until scrapes until the condition holds, at most for two seconds, and gives
// the last state.
func (p *probe) until(ctx context.Context, fits func(scrape) bool) (now scrape, err error) {
	_, err = wait(ctx, 2*time.Second, func() (bool, error) {
		now, err = p.t.scrape(ctx)
		return err == nil && fits(now), err
	})
	return now, err
}

// sockets opens a socket for each and compares the counts.
func (p *probe) sockets(ctx context.Context, people []*device, before scrape) error {
	const gauge, established = "active_connections", "ws_connection_establish_time_seconds_count"
	for _, d := range people {
		s, _, err := d.connect(ctx, nil, "")
		if err != nil {
			return err
		}
		p.open = append(p.open, s)
	}
	want := float64(len(people))
	now, err := p.until(ctx, func(s scrape) bool {
		return delta(before, s, gauge) == want && delta(before, s, established) == want
	})
	if err != nil {
		return err
	}
	equal(p.c, fmt.Sprintf("%d sockets opened, %s moved by", len(people), gauge), delta(before, now, gauge), want)
	equal(p.c, fmt.Sprintf("%d sockets opened, %s moved by", len(people), established), delta(before, now, established), want)
	return nil
}

func (p *probe) closing(ctx context.Context) error {
	before, err := p.t.scrape(ctx)
	if err != nil {
		return err
	}
	n := float64(len(p.open))
	p.hangUp()
	now, err := p.until(ctx, func(s scrape) bool { return delta(before, s, "active_connections") == -n })
	if err != nil {
		return err
	}
	equal(p.c, fmt.Sprintf("%g sockets closed, active_connections moved by", n), delta(before, now, "active_connections"), -n)
	return nil
}

// delta is how much a series moved; not a number if it is missing.
func delta(before, after scrape, name string, pairs ...string) float64 {
	a, ok := before.value(name, pairs...)
	b, ok2 := after.value(name, pairs...)
	if !ok || !ok2 {
		return math.NaN()
	}
	return b - a
}

const latencyName = "message_e2e_latency_seconds"

// latency sends messages one by one, acknowledges each after a delay, and
// compares counts and medians.
func (p *probe) latency(ctx context.Context, messages int, hold time.Duration) error {
	before, err := p.t.scrape(ctx)
	if err != nil {
		return err
	}
	own, err := p.exchange(ctx, messages, hold)
	if err != nil {
		return err
	}
	want := float64(messages)
	counts := []struct {
		name  string
		pairs []string
	}{
		{"messages_accepted_total", nil},
		{"messages_committed_total", nil},
		{"message_deliveries_total", nil},
		{latencyName + "_count", []string{"stage", "written"}},
		{latencyName + "_count", []string{"stage", "acknowledged"}},
	}
	now, err := p.until(ctx, func(s scrape) bool {
		return !slices.ContainsFunc(counts, func(n struct {
			name  string
			pairs []string
		},
		) bool {
			return delta(before, s, n.name, n.pairs...) != want
		})
	})
	if err != nil {
		return err
	}
	for _, n := range counts {
		equal(p.c, fmt.Sprintf("%d messages, %s%v moved by", messages, n.name, n.pairs), delta(before, now, n.name, n.pairs...), want)
	}
	p.compare(before, now, own, hold)
	return nil
}

// exchange gives the probe's own times from sending to acknowledging.
func (p *probe) exchange(ctx context.Context, messages int, hold time.Duration) (own []float64, err error) {
	const apart = 25 * time.Millisecond // 40 a second, below the limit of a user
	from, to := p.open[0], p.open[1]
	for range messages {
		client := p.t.name("m")
		begin := time.Now()
		if err := from.send(p.conversation, client, ""); err != nil {
			return nil, err
		}
		f, err := to.await(event(client))
		if err != nil {
			return nil, fmt.Errorf("a message of the probe: %w", err)
		}
		if hold > 0 {
			if err := pause(ctx, hold); err != nil {
				return nil, err
			}
		}
		if err := to.ack(p.conversation, f.Message.Seq); err != nil {
			return nil, err
		}
		own = append(own, time.Since(begin).Seconds())
		if err := pause(ctx, apart); err != nil {
			return nil, err
		}
	}
	return own, nil
}

// compare judges that the server's median lies within one bucket of the probe's.
func (p *probe) compare(before, now scrape, own []float64, hold time.Duration) {
	slices.Sort(own)
	mine := own[len(own)/2]
	bounds, median := histogram(before, now, latencyName, "stage", "acknowledged")
	if median < 0 {
		p.c.fact(false, "%s has no observation to compare with the probe's", latencyName)
		return
	}
	bucket := sort.SearchFloat64s(bounds, mine)
	apart := max(bucket-median, median-bucket)
	p.c.fact(apart <= 1, "acknowledgements held back by %s: median of the probe %.1f ms (bucket %s), of the server bucket %s; at most one bucket apart",
		hold, mine*1000, boundary(bounds, bucket), boundary(bounds, median))
}

func boundary(bounds []float64, i int) string {
	if i >= len(bounds) {
		return "+Inf"
	}
	return fmt.Sprintf("<= %g s", bounds[i])
}

// histogram gives the finite bounds of a histogram and the index of the bucket
// in which the median of what was added lies; -1 if nothing was.
func histogram(before, now scrape, name, label, value string) (bounds []float64, median int) {
	type bucket struct{ le, added float64 }
	var all []bucket
	for series, s := range now {
		if s.name != name+"_bucket" || s.labels[label] != value {
			continue
		}
		if le, err := strconv.ParseFloat(s.labels["le"], 64); err == nil {
			all = append(all, bucket{le, s.value - before[series].value})
		}
	}
	slices.SortFunc(all, func(a, b bucket) int {
		if a.le < b.le {
			return -1
		}
		return 1
	})
	if len(all) == 0 || all[len(all)-1].added <= 0 {
		return nil, -1
	}
	half := all[len(all)-1].added / 2
	for _, b := range all[:len(all)-1] {
		bounds = append(bounds, b.le)
	}
	return bounds, slices.IndexFunc(all, func(b bucket) bool { return b.added > half || b.added == all[len(all)-1].added })
}

// unacknowledged judges that a message that nobody acknowledges shows.
func (p *probe) unacknowledged(ctx context.Context) error {
	const gauge = "message_unacked_oldest_seconds"
	const grows = 1.5 // seconds
	client := p.t.name("m")
	if err := p.open[0].send(p.conversation, client, ""); err != nil {
		return err
	}
	f, err := p.open[1].await(event(client))
	if err != nil {
		return fmt.Errorf("a message of the probe: %w", err)
	}
	var age float64
	_, err = wait(ctx, 5*time.Second, func() (bool, error) {
		now, err := p.t.scrape(ctx)
		if err == nil {
			age, _ = now.value(gauge)
		}
		return age >= grows, err
	})
	if err != nil {
		return err
	}
	p.c.fact(age >= grows, "a message that nobody acknowledges: %s grows to %.1f", gauge, age)
	if err := p.open[1].ack(p.conversation, f.Message.Seq); err != nil {
		return err
	}
	ok, err := wait(ctx, 3*time.Second, func() (bool, error) {
		now, err := p.t.scrape(ctx)
		if err == nil {
			age, _ = now.value(gauge)
		}
		return age < grows, err
	})
	if err != nil {
		return err
	}
	p.c.fact(ok, "after its acknowledgement: %s is %.1f", gauge, age)
	return nil
}
