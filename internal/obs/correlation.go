package obs

import (
	"context"
	"strconv"

	"github.com/nova-chat/nova/internal/id"
)

// Correlation is the identifier that follows one cause through HTTP, RPC,
// outbox, bus, goroutine and socket. It is a tag that clients may choose: never
// a metric label, never a reason to trust anybody.
type Correlation string

// maxCorrelation is the longest accepted correlation ID in bytes.
const maxCorrelation = 64

// NewCorrelation makes a correlation ID for a cause that brought none.
func NewCorrelation() Correlation { return Correlation(id.New()) }

// ParseCorrelation accepts what matches ^[A-Za-z0-9._-]{1,64}$.
func ParseCorrelation(s string) (Correlation, bool) {
	if s == "" || len(s) > maxCorrelation {
		return "", false
	}
	for i := range len(s) {
		if !correlationByte(s[i]) {
			return "", false
		}
	}
	return Correlation(s), true
}

func correlationByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}

// Child names the n-th cause within c, as "ID.7". A result that would be too
// long loses the end of the ID, not the number.
func (c Correlation) Child(n uint64) Correlation {
	var buf [21]byte
	suffix := strconv.AppendUint(append(buf[:0], '.'), n, 10)
	if room := maxCorrelation - len(suffix); len(c) > room {
		c = c[:room]
	}
	return c + Correlation(suffix)
}

type correlationKey struct{}

// correlated is a context with a correlation ID: context.WithValue would need a
// second allocation, and every frame and event has one.
type correlated struct {
	context.Context
	c Correlation
}

func (x *correlated) Value(key any) any {
	if key == (correlationKey{}) {
		return x
	}
	return x.Context.Value(key)
}

// WithCorrelation returns a context that carries c.
func WithCorrelation(ctx context.Context, c Correlation) context.Context {
	return &correlated{ctx, c}
}

// CorrelationFrom gives the context's correlation ID, "" if it has none.
func CorrelationFrom(ctx context.Context) Correlation {
	if x, ok := ctx.Value(correlationKey{}).(*correlated); ok {
		return x.c
	}
	return ""
}
