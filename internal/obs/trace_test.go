package obs

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParseTrace(t *testing.T) {
	got, ok := ParseTrace(traceparent)
	if !ok || got.ID() != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("%q, %v", got, ok)
	}
	for _, bad := range []string{
		"", "x", strings.ToUpper(traceparent), traceparent + "-x", traceparent[:54], "ff" + traceparent[2:], "01" + traceparent[2:],
		"00-" + strings.Repeat("0", 32) + traceparent[35:], traceparent[:36] + strings.Repeat("0", 16) + "-01",
		strings.Replace(traceparent, "4b", "4g", 1), strings.ReplaceAll(traceparent, "-", "_"), traceparent[:53] + "g1", "00-" + strings.Repeat("-", 32) + traceparent[35:],
	} {
		if got, ok := ParseTrace(bad); ok || got != "" {
			t.Errorf("accepted %q", bad)
		}
	}
	if Trace("").ID() != "" {
		t.Error("no trace has an id")
	}
}

func TestTheTraceIsLogged(t *testing.T) {
	var out bytes.Buffer
	o, err := New(Config{Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	ctx := WithCorrelation(context.Background(), "test-123")
	o.Log(Auth).LogAttrs(WithTrace(ctx, traceparent), slog.LevelInfo, "with")
	o.Log(Auth).LogAttrs(WithTrace(ctx, ""), slog.LevelInfo, "without")
	lines := strings.Split(out.String(), "\n")
	if !strings.Contains(lines[0], `"correlation_id":"test-123","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`) || strings.Contains(lines[1], "trace_id") {
		t.Errorf("logged %s", out.String())
	}
}
