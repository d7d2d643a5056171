package e2e

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"testing"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/audit"
	"github.com/nova-chat/nova/internal/config"
)

// TestTheAuditHolds: the promises that can be judged from outside, on a
// deployment of several processes behind a proxy. The audit's own tests have it
// judge one process, sound and broken.
func TestTheAuditHolds(t *testing.T) {
	if chosen == alone {
		t.Skip("internal/audit judges one process with SQLite")
	}
	t.Parallel()
	logs := t.TempDir()
	n := start(t, t.TempDir(), manyLogins, func(c *config.Config) { c.LogDir = logs })
	opts := audit.Options{
		Public: n.proxy(t), LogDir: logs, Only: []int{2, 5, 6, 9}, Requests: 1000,
		Series: n.series,
	}
	for _, a := range n.apps {
		opts.Admins = append(opts.Admins, a.AdminURL())
	}
	r, err := audit.Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		t.Logf("%d %s: %s after %v", c.Promise, c.Name, c.Verdict, c.Took)
		for _, f := range c.Facts {
			if f.Verdict == audit.Broken || c.Verdict == audit.NotJudged {
				t.Errorf("%d %s: %s: %s", c.Promise, c.Name, f.Verdict, f.Text)
			}
		}
	}
}

// series is what the catalogue says of the process that tells this configuration.
func (n *node) series(told map[string]string) ([]string, error) {
	for _, c := range n.cfgs {
		if i := slices.IndexFunc(c.Entries(nil), func(e config.Entry) bool { return e.Key == "data_dir" && e.Value == told["data_dir"] }); i >= 0 {
			m, _, err := app.Catalogue(c)
			return m.Static(), err
		}
	}
	return nil, errors.New("the configuration is of no process of the deployment")
}

// proxy is an HTTP proxy before the node, for clients that send one request
// after the other over a connection.
func (n *node) proxy(t *testing.T) (url string) {
	t.Helper()
	if n.router == nil {
		return n.url
	}
	s := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", n.router.node(serviceOf([]byte("- "+r.In.URL.EscapedPath())))
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(s.Close)
	return s.URL
}
