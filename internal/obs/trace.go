package obs

import (
	"context"
	"strings"
)

// Trace is where a cause stands in a trace of others, as the header traceparent
// has it (W3C Trace Context, version 00). Nova makes no spans: it passes the
// context on as it came, and writes the trace's id into its log.
type Trace string

const (
	traceIDAt  = len("00-")
	parentIDAt = traceIDAt + 32 + 1
	flagsAt    = parentIDAt + 16 + 1
	traceLen   = flagsAt + 2
)

// ParseTrace accepts a traceparent: VERSION-TRACE-PARENT-FLAGS in lower-case hex,
// neither identifier all zeros.
func ParseTrace(s string) (Trace, bool) {
	if len(s) != traceLen || !strings.HasPrefix(s, "00-") || s[parentIDAt-1] != '-' || s[flagsAt-1] != '-' {
		return "", false
	}
	for _, part := range []string{s[traceIDAt : parentIDAt-1], s[parentIDAt : flagsAt-1], s[flagsAt:]} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return "", false
		}
	}
	if strings.Trim(s[traceIDAt:parentIDAt-1], "0") == "" || strings.Trim(s[parentIDAt:flagsAt-1], "0") == "" {
		return "", false
	}
	return Trace(s), true
}

// ID is the identifier of the trace, for the log.
func (t Trace) ID() string {
	if len(t) != traceLen {
		return ""
	}
	return string(t[traceIDAt : parentIDAt-1])
}

type traceKey struct{}

// WithTrace returns a context that carries t, or ctx itself if there is none.
func WithTrace(ctx context.Context, t Trace) context.Context {
	if t == "" {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceFrom gives the context's trace, "" if it is in none.
func TraceFrom(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}
