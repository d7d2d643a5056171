package audit_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/audit"
)

func TestCardinality(t *testing.T) {
	other := func(_ *node, o *audit.Options) {
		o.Series = func(map[string]string) ([]string, error) { return []string{"declared_total"}, nil }
	}
	together(t, map[string]scene{
		"a series per path":     {promise: 2, defect: perPath(), because: []string{"before and after the attack the set of series differs", "http_paths_total"}},
		"a series per method":   {promise: 2, defect: &defect{metrics: perMethod}, because: []string{`method="BLAH"`}},
		"too many":              {promise: 2, defect: &defect{metrics: many}, because: []string{"must stay below 5000"}},
		"not the catalogue's":   {promise: 2, change: other, because: []string{"1 fewer (declared_total)"}},
		"nothing gets answered": {promise: 2, defect: &defect{request: deaf}, because: []string{"it must be more than half"}},
	})
}

// perPath is the gap that was found in the beginning: the path as a label.
func perPath() *defect {
	var mu sync.Mutex
	paths := map[string]bool{}
	return &defect{
		request: func(_ http.ResponseWriter, req *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			paths[req.URL.EscapedPath()] = true
			return false
		},
		metrics: func(text string) string {
			mu.Lock()
			defer mu.Unlock()
			for p := range paths {
				text += fmt.Sprintf("http_paths_total{path=%q} 1\n", p)
			}
			return text
		},
	}
}

var oddMethod = regexp.MustCompile(`(?m)^http_requests_total\{method="other".* [1-9][0-9.e+]*$`)

// perMethod adds a series as soon as an odd method was seen.
func perMethod(text string) string {
	if oddMethod.MatchString(text) {
		text += "http_requests_total{method=\"BLAH\",route=\"x\",status=\"4xx\"} 1\n"
	}
	return text
}

func many(text string) string {
	var b strings.Builder
	b.WriteString(text)
	for i := range 5000 {
		_, _ = fmt.Fprintf(&b, "many_total{i=\"%d\"} 1\n", i)
	}
	return b.String()
}

// deaf cuts every connection but those that the audit needs to begin.
func deaf(_ http.ResponseWriter, req *http.Request) bool {
	if req.URL.Path == "/readyz" || req.URL.Path == "/api/v1/auth/register" {
		return false
	}
	panic(http.ErrAbortHandler)
}
