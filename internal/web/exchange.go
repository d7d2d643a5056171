package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

const (
	correlationHeader = "X-Correlation-Id" // in both directions
	traceHeader       = "Traceparent"      // W3C Trace Context
)

// exchange is what the edge knows about one request while it is answered.
type exchange struct {
	router   *Router
	begin    time.Time
	client   netip.Addr
	endpoint *endpoint // nil while, and if, nothing matched
	user     string    // ID of the caller, if one was proved
	proof    bool      // an Authorization header was sent
	refusal  error     // why the identity of an Optional route did not verify
	fault    *fault.Error
	unread   bool // the request has a body, of which not all was read
}

type exchangeKey struct{}

func exchangeFrom(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// Refusal is why the identity did not verify on an [Optional] route; nil if it
// did, or if none was claimed.
func Refusal(ctx context.Context) error {
	if x := exchangeFrom(ctx); x != nil {
		return x.refusal
	}
	return nil
}

// ServeHTTP answers one request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.inFlight.Add(1)
	defer r.inFlight.Add(-1)
	correlation, ok := obs.ParseCorrelation(req.Header.Get(correlationHeader))
	if !ok {
		correlation = obs.NewCorrelation()
	}
	x := &exchange{router: r, begin: time.Now(), client: r.clientAddress(req)}
	trace, _ := obs.ParseTrace(req.Header.Get(traceHeader))
	ctx := obs.WithTrace(obs.WithCorrelation(req.Context(), correlation), trace)
	ctx = context.WithValue(ctx, exchangeKey{}, x)
	req = req.WithContext(ctx)
	rec := &recorder{ResponseWriter: w}
	defer x.finish(rec, req)

	h := rec.Header()
	h.Set(correlationHeader, string(correlation))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if x.unread = req.ContentLength != 0; x.unread {
		// Also for a body that nobody reads: the server would wait for its end.
		_ = http.NewResponseController(w).SetReadDeadline(x.begin.Add(r.cfg.BodyTimeout))
	}
	if len(req.TransferEncoding) > 0 {
		// The request may have had a Content-Length too, which net/http drops.
		// Whoever stands in front may have counted with it: what follows on this
		// connection is not to be believed (RFC 9112, section 6.3).
		h.Set("Connection", "close")
	}
	r.route(rec, req)
}

// route refuses what no route could want, then finds the route.
func (r *Router) route(w http.ResponseWriter, req *http.Request) {
	switch {
	case suspect(req.Context()):
		w.Header().Set("Connection", "close")
		Problem(w, req, fault.New(fault.CodeBadRequest, "The head of the request has more than one reading."))
	case countFields(req.Header) > maxHeaders:
		w.Header().Set("Connection", "close")
		http.Error(w, "431 Request Header Fields Too Large", http.StatusRequestHeaderFieldsTooLarge)
	case !slices.Contains(methods, req.Method):
		r.refuseUnknownMethod(w, req)
	case !clean(req.URL):
		notFound(w, req)
	default:
		if f := checkQuery(req.URL); f != nil && isAPI(req.URL.Path) {
			Problem(w, req, f)
			return
		}
		r.mux.ServeHTTP(w, req)
	}
}

// refuseUnknownMethod answers HEAD, OPTIONS, TRACE, CONNECT and inventions. The
// mux must not see them: it has rules of its own for CONNECT.
func (r *Router) refuseUnknownMethod(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "" { // CONNECT to a host: there is no path to have a route
		refuseMethod(w, req, strings.Join(methods, ", "))
		return
	}
	if !clean(req.URL) {
		notFound(w, req)
		return
	}
	found, _ := r.mux.Handler(&http.Request{Method: http.MethodGet, URL: req.URL})
	if e, ok := found.(*entry); ok {
		refuseMethod(w, req, e.allow)
		return
	}
	r.unmatched(w, req) // which answers GET alone
}

// finish counts and logs the request, and answers it if a panic ended it.
func (x *exchange) finish(rec *recorder, req *http.Request) {
	broken := false
	if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http compares it
		x.router.obs.Metrics.Panics.Inc(obs.PanicHTTP)
		run.LogPanic(req.Context(), x.log(), "http", v)
		if broken = rec.status != 0; !broken {
			Problem(rec, req, fault.New(fault.CodeInternal, ""))
		}
	} else if v != nil {
		broken = true
	}
	took := time.Since(x.begin)
	if x.endpoint != nil {
		x.endpoint.metric.Done(rec.code(), took)
	} else {
		x.router.obs.Metrics.UnmatchedRequest(req.Method)
	}
	x.logLine(req.Context(), rec.code(), took)
	if req.Close && x.unread {
		linger(rec.ResponseWriter)
	}
	if broken {
		panic(http.ErrAbortHandler) // cut the connection: half an answer is out
	}
}

func (x *exchange) log() *slog.Logger {
	if x.endpoint == nil {
		return x.router.obs.Log(obs.Process)
	}
	return x.router.obs.Log(x.endpoint.route.Service)
}

// logLine writes the one line of a request: what went well and what the client
// did wrong is sampled, what the server did wrong always stands there.
func (x *exchange) logLine(ctx context.Context, status int, took time.Duration) {
	level, site := slog.LevelInfo, obs.SiteRequest
	switch {
	case status == http.StatusInternalServerError:
		level = slog.LevelError
	case status >= 500: // the server knows why, and said so
		level = slog.LevelWarn
	case status >= 400:
		site = obs.SiteRefusal
	}
	if level == slog.LevelInfo && !x.router.obs.Sample(site) {
		return
	}
	op := "http.unmatched"
	if x.endpoint != nil {
		op = x.endpoint.route.Op
	}
	attrs := []slog.Attr{slog.String("op", op), slog.Int("status", status), slog.Duration("took", took)}
	if x.user != "" {
		attrs = append(attrs, slog.String("user_id", x.user))
	}
	if x.fault != nil {
		attrs = append(attrs, slog.String("code", obs.LogName(x.fault.Code)))
		if status >= 500 {
			attrs = append(attrs, obs.Cause(x.fault))
		}
	}
	x.log().LogAttrs(ctx, level, "request", attrs...)
}
