package web

import (
	"context"
	"errors"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
)

// statusGone is what a request counts as whose client did not wait for the
// answer. It is never seen by anybody but the log and the counters.
const statusGone = 499

const problemType = "application/problem+json"

// problem is a problem document (RFC 9457).
type problem struct {
	Type          string        `json:"type" doc:"Address of the page about the code." example:"/errors/invalid"`
	Title         string        `json:"title" doc:"What the code means; never varies." example:"Not allowed value"`
	Status        int           `json:"status" doc:"The HTTP status." example:"422"`
	Code          string        `json:"code" doc:"The stable name of the failure, from a closed set." example:"invalid"`
	Detail        string        `json:"detail" doc:"What was wrong this time, for people." example:"username: must have at least 3 characters"`
	CorrelationID string        `json:"correlation_id" doc:"Names this request in the server's logs." example:"01JD9XQ4ZB6T3N8V5WMR2C7KHE"`
	Retryable     bool          `json:"retryable" doc:"Whether repeating the same request can succeed."`
	RetryAfterMS  int64         `json:"retry_after_ms,omitzero" doc:"When to repeat, in milliseconds from now." example:"1000"`
	Errors        []fault.Field `json:"errors,omitempty" doc:"The fields at fault, without their values."`
}

// StatusOf is the HTTP status of a code.
func StatusOf(c fault.Code) int {
	if int(c) < len(statuses) {
		return statuses[c]
	}
	return http.StatusInternalServerError
}

// statuses is the HTTP table of the codes; a test sees that none is missing.
var statuses = [...]int{
	fault.CodeInternal:             http.StatusInternalServerError,
	fault.CodeBadRequest:           http.StatusBadRequest,
	fault.CodeUnknownField:         http.StatusBadRequest,
	fault.CodeBadID:                http.StatusBadRequest,
	fault.CodeBadCursor:            http.StatusBadRequest,
	fault.CodeBadSubprotocol:       http.StatusBadRequest,
	fault.CodeTokenInURL:           http.StatusBadRequest,
	fault.CodeUnauthenticated:      http.StatusUnauthorized,
	fault.CodeLoginRefused:         http.StatusUnauthorized,
	fault.CodeForbidden:            http.StatusForbidden,
	fault.CodeNotFound:             http.StatusNotFound,
	fault.CodeMethodNotAllowed:     http.StatusMethodNotAllowed,
	fault.CodeTimeout:              http.StatusRequestTimeout,
	fault.CodeConflict:             http.StatusConflict,
	fault.CodeUsernameTaken:        http.StatusConflict,
	fault.CodeIdempotencyConflict:  http.StatusConflict,
	fault.CodeTooLarge:             http.StatusRequestEntityTooLarge,
	fault.CodeUnsupportedMediaType: http.StatusUnsupportedMediaType,
	fault.CodeInvalid:              http.StatusUnprocessableEntity,
	fault.CodeTooLong:              http.StatusUnprocessableEntity,
	fault.CodeUpgradeRequired:      http.StatusUpgradeRequired,
	fault.CodeRateLimited:          http.StatusTooManyRequests,
	fault.CodeLoginThrottled:       http.StatusTooManyRequests,
	fault.CodeCanceled:             statusGone,
	fault.CodeUnavailable:          http.StatusServiceUnavailable,
	fault.CodeOverloaded:           http.StatusServiceUnavailable,
	fault.CodeAuthBusy:             http.StatusServiceUnavailable,
	fault.CodeStorageFull:          http.StatusInsufficientStorage,
	fault.CodeUnknownOp:            http.StatusBadRequest,
	fault.CodeBadFrame:             http.StatusBadRequest,
}

// Problem answers with the problem document of err. Nothing may have been
// answered before.
func Problem(w http.ResponseWriter, req *http.Request, err error) {
	ctx := req.Context()
	f, x := judge(ctx, err), exchangeFrom(ctx)
	status, h := StatusOf(f.Code), w.Header()
	if x != nil {
		x.fault = f
		x.router.obs.Metrics.HTTPFailures.Inc(f.Code)
	}
	h.Set("Content-Type", problemType)
	h.Set("Cache-Control", "no-store")
	setRetry(h, f)
	if status == http.StatusUnauthorized {
		setChallenge(h, f, x != nil && x.proof)
	}
	if status == http.StatusRequestTimeout {
		h.Set("Connection", "close") // RFC 9110, section 15.5.9
	}
	if status == http.StatusUpgradeRequired {
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		h.Set("Sec-Websocket-Version", "13")
	}
	body, err := json.Marshal(document(ctx, f))
	if err != nil { // a detail that is no UTF-8: say less
		body, _ = json.Marshal(document(ctx, fault.New(f.Code, "")))
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody is left to be told
}

// judge makes err a fault. Once the client is gone, whatever fails fails
// because of that and is not the server's doing.
func judge(ctx context.Context, err error) *fault.Error {
	f := fault.From(err)
	if f == nil {
		f = fault.New(fault.CodeInternal, "")
	}
	if errors.Is(f, os.ErrDeadlineExceeded) {
		return f // the body was late; net/http calls that canceled as well
	}
	if s := StatusOf(f.Code); (s >= 500 || s == http.StatusRequestTimeout) && errors.Is(ctx.Err(), context.Canceled) {
		return fault.Wrap(fault.CodeCanceled, f, "")
	}
	return f
}

func document(ctx context.Context, f *fault.Error) problem {
	p := problem{
		Type: "/errors/" + f.Code.String(), Title: f.Code.Title(), Status: StatusOf(f.Code), Code: f.Code.String(), Detail: f.Detail,
		CorrelationID: string(obs.CorrelationFrom(ctx)), Retryable: f.Code.Retryable(), Errors: f.Fields,
	}
	switch f.Code {
	case fault.CodeInternal:
		p.Detail, p.Errors = "The server failed. Its log names the cause under the correlation ID.", nil
	case fault.CodeUnauthenticated:
		p.Detail, p.Errors = f.Code.Remedy(), nil // the same for every reason
	default: // the fault says what may be said
	}
	if p.Detail == "" {
		p.Detail = f.Code.Remedy()
	}
	p.RetryAfterMS = retryAfter(f).Milliseconds()
	return p
}

// retryAfter is when to repeat. Whoever is told to slow down or to come back
// later is always told when.
func retryAfter(f *fault.Error) time.Duration {
	switch s := StatusOf(f.Code); {
	case f.RetryAfter > 0:
		return max(f.RetryAfter, time.Millisecond)
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		return time.Second
	}
	return 0
}

// setRetry says in header fields when to repeat (RFC 9110, section 10.2.3) and
// which limit was met (draft-ietf-httpapi-ratelimit-headers).
func setRetry(h http.Header, f *fault.Error) {
	after := retryAfter(f)
	if after <= 0 {
		return
	}
	seconds := strconv.Itoa(wholeSeconds(after))
	h.Set("Retry-After", seconds)
	if StatusOf(f.Code) != http.StatusTooManyRequests {
		return
	}
	name, quota, window := f.Code.String(), 1, after
	if e, ok := errors.AsType[*limit.Exceeded](f); ok {
		name, quota, window = e.Limit.String(), e.Rate.Burst, e.Rate.Window()
	}
	h.Set("Ratelimit-Policy", strconv.Quote(name)+";q="+strconv.Itoa(quota)+";w="+strconv.Itoa(wholeSeconds(window)))
	h.Set("Ratelimit", strconv.Quote(name)+";r=0;t="+seconds)
}

func wholeSeconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }

// setChallenge says how to prove an identity (RFC 6750, section 3).
func setChallenge(h http.Header, f *fault.Error, proof bool) {
	challenge := []string{"Bearer"}
	if proof && f.Code == fault.CodeUnauthenticated {
		challenge = append(challenge, `error="invalid_token"`)
	}
	h.Set("Www-Authenticate", strings.Join(challenge, " "))
}
