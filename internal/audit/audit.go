package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// promise is one of the nine, and how it is checked.
type promise struct {
	number int
	name   string
	check  func(*target, context.Context, *Check) error // nil = comes later
}

func promises() []promise {
	return []promise{
		{1, "a restart loses nothing", (*target).shutdown},
		{2, "the set of series is bounded", (*target).cardinality},
		{3, "every alert can fire", nil},
		{4, "no secret in any log", nil},
		{5, "one correlation ID, every hop", (*target).correlation},
		{6, "the service levels are measured", (*target).serviceLevels},
		{7, "hot paths are sampled, exactly", nil},
		{8, "a frame is encoded once", nil},
		{9, "every failure has a reason", (*target).reasons},
	}
}

// Run checks the promises, one after the other. An error means that there is no
// report because the options are wrong; a target that does not answer is in the
// report, as something that could not be judged.
func Run(ctx context.Context, opts Options) (Report, error) {
	if err := opts.fill(); err != nil {
		return Report{}, err
	}
	o, err := obs.New(obs.Config{})
	if err != nil {
		return Report{}, fmt.Errorf("audit: %w", err)
	}
	g := run.New(o)
	defer g.Stop(context.WithoutCancel(ctx))
	t, err := newTarget(o, g, opts)
	if err != nil {
		return Report{}, err
	}
	defer t.close()
	r := Report{Public: opts.Public, Admin: strings.Join(opts.Admins, ","), Started: time.Now().UTC(), Only: opts.Only}
	r.Version = t.version(ctx)
	gone := t.reachable(ctx)
	for _, p := range promises() {
		if len(opts.Only) > 0 && !slices.Contains(opts.Only, p.number) {
			continue
		}
		r.Checks = append(r.Checks, t.judge(ctx, p, gone))
	}
	r.Took = time.Since(r.Started)
	return r, nil
}

// checkWithin bounds one check, so that a target that hangs is a finding and
// not a hanging audit.
const checkWithin = 5 * time.Minute

func (t *target) judge(ctx context.Context, p promise, gone error) Check {
	c := Check{Promise: p.number, Name: p.name}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	switch {
	case p.check == nil:
		c.end(cannot("this check comes with a later version"))
	case gone != nil:
		c.end(gone)
	default:
		t.opts.Progress(fmt.Sprintf("%d %s", p.number, p.name))
		c.end(p.check(t, ctx, &c))
	}
	c.Took = time.Since(begin)
	return c
}
