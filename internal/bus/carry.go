package bus

import (
	"context"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// handlerTime is how long the handling of one event may take.
const handlerTime = 30 * time.Second

// context is a handler's: it begins anew, so that what the publisher's context
// held cannot be relied upon in one process and be missing in several.
func (e *Envelope) context() (context.Context, context.CancelFunc) {
	ctx := obs.WithTrace(obs.WithCorrelation(context.Background(), e.Correlation), e.Trace)
	return context.WithTimeout(ctx, handlerTime)
}
