package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/nova-chat/nova/internal/web"
)

// queried is one series of an instant query.
type queried struct {
	labels map[string]string
	value  string
}

func (q queried) String() string {
	delete(q.labels, "__name__")
	return strings.TrimSpace(seriesName("", q.labels) + " " + q.value)
}

// query asks Prometheus for the value of an expression now.
func (t *target) query(ctx context.Context, expr string) ([]queried, error) {
	var out struct {
		Data struct {
			Result []struct {
				Metric map[string]string  `json:"metric"`
				Value  [2]json.RawMessage `json:"value"`
				Native [2]json.RawMessage `json:"histogram"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := t.askPrometheus(ctx, "/api/v1/query?query="+url.QueryEscape(expr), &out); err != nil {
		return nil, err
	}
	var all []queried
	for _, r := range out.Data.Result {
		value := "a native histogram"
		if r.Native[0] == nil {
			value = strings.Trim(string(r.Value[1]), `"`)
		}
		all = append(all, queried{r.Metric, value})
	}
	return all, nil
}

func (t *target) askPrometheus(ctx context.Context, path string, out any) error {
	c, err := web.NewClient(t.opts.Prometheus, web.ClientOptions{})
	if err != nil {
		return cannot("prometheus: %v", err)
	}
	defer c.Close()
	a, err := c.Raw(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return cannot("prometheus: %v", err)
	}
	if a.Status != http.StatusOK {
		return cannot("prometheus answered with status %d", a.Status)
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("prometheus: %w", err)
	}
	return nil
}

// answers judges that bare queries of names give something.
func (t *target) answers(ctx context.Context, c *Check, names ...string) error {
	if t.opts.Prometheus == "" {
		c.notJudged("no --prometheus: whether %s answer a bare query", strings.Join(names, ", "))
		return nil
	}
	for _, name := range names {
		got, err := t.query(ctx, name)
		if why, ok := errors.AsType[*cannotError](err); ok {
			c.notJudged("%s: %s", name, why.because)
			continue
		}
		if err != nil {
			return err
		}
		if c.fact(len(got) > 0, "query=%s gives %d series", name, len(got)) {
			c.note("  the first: %s", got[0])
		}
	}
	return nil
}
