package audit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// mostSeries is the promise for the whole system.
const mostSeries = 5000

// cardinality compares the set of series before and after an attack on it.
func (t *target) cardinality(ctx context.Context, c *Check) error {
	people, err := t.accounts(ctx, 2)
	if err != nil {
		return err
	}
	before, err := t.scrapes(ctx)
	if err != nil {
		return err
	}
	sent, err := t.attack(ctx, people[0])
	if err != nil {
		return err
	}
	after, err := t.scrapes(ctx)
	if err != nil {
		return err
	}
	c.note("attack with seed %d: %s", t.opts.Seed, sent)
	asked := sent.requests.Load()
	if !c.fact(2*sent.answers.Load() > asked, "of %d ordinary requests of the attack the server answered %d, and it must be more than half", asked, sent.answers.Load()) {
		return nil
	}
	total := 0
	for i := range after {
		compareSets(c, t.at(i)+"before and after the attack", before[i].names(), after[i].names())
		total += len(after[i])
		if err := t.compareCatalogue(ctx, c, i, after[i]); err != nil {
			return err
		}
	}
	c.fact(total < mostSeries, "series of %d processes: %d, and the whole system must stay below %d", len(after), total, mostSeries)
	return t.wholeSystem(ctx, c)
}

func compareSets(c *Check, what string, want, got []string) {
	added, gone := difference(got, want), difference(want, got)
	if len(added)+len(gone) == 0 {
		c.fact(true, "%s the set of series is the same: %d", what, len(got))
		return
	}
	c.fact(false, "%s the set of series differs: %d more (%s), %d fewer (%s)", what, len(added), some(added), len(gone), some(gone))
}

// difference gives what of a is not in b; both are sorted.
func difference(a, b []string) (only []string) {
	for _, s := range a {
		if _, ok := slices.BinarySearch(b, s); !ok {
			only = append(only, s)
		}
	}
	return only
}

func some(list []string) string {
	const most = 3
	if len(list) == 0 {
		return "none"
	}
	if len(list) > most {
		return strings.Join(list[:most], ", ") + ", ..."
	}
	return strings.Join(list, ", ")
}

// at names a process, if there are several.
func (t *target) at(i int) string {
	if len(t.admins) == 1 {
		return ""
	}
	return t.opts.Admins[i] + ": "
}

// compareCatalogue compares what a process shows with what the catalogue says of
// a process with its configuration.
func (t *target) compareCatalogue(ctx context.Context, c *Check, i int, now scrape) error {
	if t.opts.Series == nil {
		c.notJudged("%swhether the set equals the static catalogue: this binary is not of the audited version", t.at(i))
		return nil
	}
	configuration := map[string]string{}
	if _, err := t.admins[i].Do(ctx, http.MethodGet, "/config", nil, &configuration); err != nil {
		return fmt.Errorf("%s/config: %w", t.opts.Admins[i], err)
	}
	static, err := t.opts.Series(configuration)
	if err != nil {
		return err
	}
	var own []string
	for _, name := range now.names() {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			own = append(own, name)
		}
	}
	compareSets(c, t.at(i)+"between the static catalogue and the process", slices.Sorted(slices.Values(static)), own)
	return nil
}

// wholeSystem asks Prometheus how many series there are in all.
func (t *target) wholeSystem(ctx context.Context, c *Check) error {
	if t.opts.Prometheus == "" {
		c.notJudged("no --prometheus: the number of series of the whole system")
		return nil
	}
	got, err := t.query(ctx, `count({__name__=~".+"})`)
	if err != nil {
		return left(c, err)
	}
	if len(got) == 1 {
		n, _ := strconv.ParseFloat(got[0].value, 64)
		c.fact(n > 0 && n < mostSeries, `query=count({__name__=~".+"}) gives %s, and it must stay below %d`, got[0].value, mostSeries)
	} else {
		c.fact(false, `query=count({__name__=~".+"}) gives nothing`)
	}
	var names struct {
		Data []string `json:"data"`
	}
	if err := t.askPrometheus(ctx, "/api/v1/label/"+url.PathEscape("__name__")+"/values", &names); err != nil {
		return left(c, err)
	}
	c.fact(len(names.Data) > 0 && len(names.Data) < mostSeries, "/api/v1/label/__name__/values lists %d names, and it must stay below %d", len(names.Data), mostSeries)
	return nil
}

// left notes what could not be judged without ending the check.
func left(c *Check, err error) error {
	if why, ok := errors.AsType[*cannotError](err); ok {
		c.notJudged("%s", why.because)
		return nil
	}
	return err
}
