package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// reasons produces the failures that can be produced from outside, one by one,
// and judges that exactly the right series moves.
func (t *target) reasons(ctx context.Context, c *Check) error {
	people, err := t.accounts(ctx, 2)
	if err != nil {
		return err
	}
	victim, err := t.register(ctx) // its name is locked in the end
	if err != nil {
		return err
	}
	before, err := t.rest(ctx)
	if err != nil {
		return err
	}
	p := &scenario{t: t, c: c, alice: people[0], bob: people[1], victim: victim, produced: map[string]bool{}}
	for _, step := range []func(context.Context) error{p.logins, p.identities, p.sockets, p.sends} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	now, err := t.scrape(ctx)
	if err != nil {
		return err
	}
	p.unknown(before, now)
	p.leftOut(now)
	return nil
}

// scenario is where the failures are produced.
type scenario struct {
	t                  *target
	c                  *Check
	alice, bob, victim *device
	produced           map[string]bool // "metric reason"
}

// expect is one failure: what is done, which series must move by how much, and
// what the caller must be told.
type expect struct {
	what   string
	metric string
	reason string
	times  float64
	told   string // code of the answer, or of the close frame
	do     func(ctx context.Context) (told string, err error)
}

// label is under which a metric has its reasons.
func label(metric string) string {
	if strings.HasPrefix(metric, "messages_rejected") {
		return "code"
	}
	return "reason"
}

// judge does one thing and compares.
func (p *scenario) judge(ctx context.Context, e expect) error {
	before, err := p.t.scrape(ctx)
	if err != nil {
		return err
	}
	cid := p.t.name("cid")
	told, err := e.do(obs.WithCorrelation(ctx, obs.Correlation(cid)))
	if err != nil {
		return fmt.Errorf("%s: %w", e.what, err)
	}
	want := map[string]float64{e.reason: e.times}
	var got map[string]float64
	_, err = wait(ctx, 2*time.Second, func() (bool, error) {
		now, err := p.t.scrape(ctx)
		got = moved(before.by(e.metric, label(e.metric)), now.by(e.metric, label(e.metric)))
		return maps.Equal(got, want), err
	})
	if err != nil {
		return err
	}
	p.produced[e.metric+" "+e.reason] = true
	if got["address_throttled"] > 0 {
		return cannot("the limit logins_per_address is met: wait a minute")
	}
	text := fmt.Sprintf("%s: %s moved by %s", e.what, e.metric, show(got))
	if maps.Equal(got, want) {
		p.c.fact(true, "%s", text)
	} else {
		p.c.fact(false, "%s, and it must be exactly %s", text, show(want))
	}
	if e.told != told {
		p.c.fact(false, "%s: the caller is told %q, and it must be %q", e.what, told, e.told)
	}
	return p.logged(ctx, before, cid, e)
}

// logged judges that the line with the same ID names the same reason.
func (p *scenario) logged(ctx context.Context, before scrape, cid string, e expect) error {
	if p.t.logs == nil || e.metric != "login_failures_total" {
		return nil
	}
	found, err := wait(ctx, 2*time.Second, func() (bool, error) {
		lines, err := p.t.logs.correlated("auth", cid)
		return slices.ContainsFunc(lines, func(l line) bool { return l.text("reason") == logName(e.reason) }), err
	})
	if err != nil {
		return err
	}
	if found {
		return nil
	}
	dropped, err := p.t.sampledAway(ctx, before)
	if err == nil && dropped == "" {
		p.c.fact(false, "%s: no line of auth.log with %s names the reason %s", e.what, cid, logName(e.reason))
	} else if err == nil {
		p.c.notJudged("%s: no line of auth.log names the reason, but lines are being sampled away (%s)", e.what, dropped)
	}
	return err
}

// unknown judges that nothing was counted without a reason.
func (p *scenario) unknown(before, now scrape) {
	n := 0
	for series, s := range now {
		if s.labels["reason"] != "unknown" {
			continue
		}
		n++
		if s.value != 0 {
			p.c.fact(false, "%s is %g (%g before the audit): a failure without a reason is a defect", series, s.value, before[series].value)
		}
	}
	p.c.fact(n > 0, "series with the reason unknown: %d, looked at all of them", n)
}

// leftOut names the reasons that were not produced.
func (p *scenario) leftOut(now scrape) {
	missing := map[string][]string{}
	for _, s := range now {
		r, ok := s.labels["reason"]
		if ok && r != "unknown" && !p.produced[s.name+" "+r] && !slices.Contains(missing[s.name], r) {
			missing[s.name] = append(missing[s.name], r)
		}
	}
	for _, metric := range slices.Sorted(maps.Keys(missing)) {
		slices.Sort(missing[metric])
		p.c.notJudged("%s: %s cannot be, or were not, produced from outside", metric, strings.Join(missing[metric], ", "))
	}
}
