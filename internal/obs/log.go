package obs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// handler adds the service, the correlation ID and the trace to every line and lets only
// plain kinds of values through: a struct could hold anything.
type handler struct {
	obs     *Obs
	service Service
	json    slog.Handler
	caused  bool // a correlation ID was given with WithAttrs
}

func newHandler(o *Obs, s Service, level slog.Level, w io.Writer) *handler {
	json := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: shapeTime})
	return &handler{o, s, json.WithAttrs([]slog.Attr{slog.String("service", s.String())}), false}
}

// shapeTime writes times as the protocol does: RFC 3339, milliseconds, UTC.
func shapeTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.String(a.Key, a.Value.Time().UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	return a
}

// Enabled is part of slog.Handler.
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.json.Enabled(ctx, l) }

// Handle is part of slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, h.obs.redactor.known(r.Message), 0)
	if c := CorrelationFrom(ctx); c != "" {
		out.AddAttrs(slog.String("correlation_id", string(c)))
	} else if h.service != Process && !h.caused {
		h.obs.Metrics.LogUncorrelated.Inc()
	}
	if t := TraceFrom(ctx); t != "" {
		out.AddAttrs(slog.String("trace_id", t.ID()))
	}
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.clean(a))
		return true
	})
	return h.json.Handle(ctx, out)
}

// WithAttrs is part of slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.clean(a)
		c.caused = c.caused || a.Key == "correlation_id"
	}
	c.json = h.json.WithAttrs(clean)
	return &c
}

// WithGroup is part of slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	c.json = h.json.WithGroup(name)
	return &c
}

func (h *handler) clean(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.obs.redactor.known(v.String()))
	case slog.KindDuration:
		return slog.Float64(a.Key+"_ms", float64(v.Duration().Microseconds())/1000)
	case slog.KindTime:
		return slog.String(a.Key, v.Time().UTC().Format(time.RFC3339Nano))
	case slog.KindGroup:
		var attrs []slog.Attr
		for _, m := range v.Group() {
			attrs = append(attrs, h.clean(m))
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(attrs...)}
	case slog.KindAny:
		return slog.String(a.Key, h.opaque(v.Any()))
	default: // numbers and truth values hold nothing to hide
		return slog.Attr{Key: a.Key, Value: v}
	}
}

// opaque is what is logged of a value that is no plain kind: the text of an
// error without what may not be seen, and of all else only its type.
func (h *handler) opaque(v any) string {
	if err, ok := v.(error); ok {
		return h.obs.redactor.foreign(err.Error())
	}
	if s, ok := v.([]string); ok {
		return h.obs.redactor.known(fmt.Sprint(s))
	}
	return fmt.Sprintf("[%T]", v)
}

// Cause is the attribute for the error behind a line.
func Cause(err error) slog.Attr { return slog.Any("cause", err) }
