package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/token"
)

// serve does what every route has in common, then hands the request on.
func (ep *endpoint) serve(w http.ResponseWriter, req *http.Request) {
	x := exchangeFrom(req.Context())
	x.endpoint = ep
	if isAPI(ep.route.Path) {
		w.Header().Set("Cache-Control", "no-store")
	}
	if err := ep.admit(x); err != nil {
		Problem(w, req, err)
		return
	}
	ctx, err := ep.identify(x, req)
	if err != nil {
		Problem(w, req, err)
		return
	}
	ep.handle(w, req.WithContext(ctx))
}

// identify proves who calls, as far as the route wants to know.
func (ep *endpoint) identify(x *exchange, req *http.Request) (context.Context, error) {
	ctx := req.Context()
	if ep.route.Access == Anyone {
		return ctx, nil
	}
	raw, sent := bearer(req.Header)
	x.proof = sent
	if !sent && ep.route.Access == Optional {
		return ctx, nil // nothing was claimed, so nothing is refused
	}
	id, err := ep.router.verifier.Verify(ctx, raw)
	switch {
	case err == nil:
		x.user = id.UserID
		ctx = token.With(ctx, id)
	case ep.route.Access == Optional:
		x.refusal = err
		return ctx, nil
	default:
		return nil, err
	}
	if ep.route.Access == SignedIn {
		if ok, after := ep.router.perUser.Allow(id.UserID); !ok {
			return nil, limited(ep.router.perUser, after)
		}
	}
	return ctx, nil
}

// admit asks the route's limit per client address.
func (ep *endpoint) admit(x *exchange) error {
	if ep.route.Limit == nil {
		return nil
	}
	if ok, after := ep.route.Limit.Allow(limitKey(x.client)); !ok {
		return limited(ep.route.Limit, after)
	}
	return nil
}

// limited is the fault for a refusal by l.
func limited(l *limit.Limiter, after time.Duration) error {
	return fault.Wrap(fault.CodeRateLimited, l.Exceeded(after), "").After(after)
}

// bearer gives the proof in the Authorization header (RFC 6750, section 2.1);
// raw is empty unless there is exactly one, and sent says whether anything was.
func bearer(h http.Header) (raw string, sent bool) {
	values := h["Authorization"]
	if len(values) != 1 {
		return "", len(values) > 0
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", true
	}
	return strings.TrimSpace(rest), true
}
