package web

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
)

// Access says who may call a route.
type Access uint8

// The kinds of access.
const (
	Anyone   Access = iota
	SignedIn        // with an identity that verifies; it is in token.From(ctx)
	Optional        // the identity if one verifies, else [Refusal] says why not
)

// defaultMaxBody is the size of a body, in bytes, that a route accepts unless
// it says otherwise.
const defaultMaxBody = 64 << 10

// Route describes one operation.
type Route struct {
	Service obs.Service
	Op      string // name in logs and documents, such as "auth.login"
	Method  string
	Path    string // as for http.ServeMux, without a method: "/api/v1/users/{id}"
	Access  Access

	Summary    string
	Doc        string
	Status     int          // of success; default 200, or 204 when there is no body
	AlsoStatus []int        // other statuses of success
	Errors     []fault.Code // beyond those that the edge itself can answer
	Fixed      bool         // of a raw handler that anyone may call: it refuses nothing, whatever is sent

	MaxBody int64          // bytes; default 64 KiB
	Limit   *limit.Limiter // per client address, asked before anything else
}

// methods are all that a route may have; the others are answered with 405.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

var (
	opForm = regexp.MustCompile(`^[a-z]+\.[a-z_]+$`)
	// An operation stands in every log line, and the search of the logs for
	// secrets looks for these words.
	opWords = regexp.MustCompile(`password|secret|token|key|credential`)
)

// check panics on a route that cannot be right: routes are written by
// programmers and registered at start.
func (rt *Route) check() {
	switch {
	case !opForm.MatchString(rt.Op), opWords.MatchString(rt.Op):
		panic(fmt.Sprintf("route %s %s: the operation %q must be area.verb and free of words that logs may not hold", rt.Method, rt.Path, rt.Op))
	case !slices.Contains(methods, rt.Method):
		panic(fmt.Sprintf("route %s: method %q is not one of %v", rt.Op, rt.Method, methods))
	case !strings.HasPrefix(rt.Path, "/"), len(rt.Path) > 1 && strings.HasSuffix(rt.Path, "/"):
		panic(fmt.Sprintf("route %s: path %q must begin and not end with a slash", rt.Op, rt.Path))
	}
}

// classes are the classes of status that the route can answer.
func (rt *Route) classes() []obs.Class {
	all := []obs.Class{obs.Class5xx, obs.ClassOf(rt.Status)}
	if !rt.Fixed {
		all = append(all, obs.Class4xx)
	}
	for _, s := range rt.AlsoStatus {
		all = append(all, obs.ClassOf(s))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
