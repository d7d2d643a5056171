package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

const (
	correlationHeader = "x-correlation-id"
	traceHeader       = "traceparent"
	longPollHeader    = "x-long-poll" // there if the call may wait for something to happen
)

// defaultDeadline is for calls whose caller set none.
const defaultDeadline = 5 * time.Second

// headers are all that crosses beside the message and the deadline.
func headers(ctx context.Context, opts []grpc.CallOption) metadata.MD {
	md := metadata.MD{}
	if c := obs.CorrelationFrom(ctx); c != "" {
		md[correlationHeader] = []string{string(c)}
	}
	if t := obs.TraceFrom(ctx); t != "" {
		md[traceHeader] = []string{string(t)}
	}
	if waits(opts) {
		md[longPollHeader] = []string{"1"}
	}
	return md
}

// longPoll marks a call; gRPC itself passes it over.
type longPoll struct{ grpc.EmptyCallOption }

// LongPoll marks a call that may wait for something to happen. Its duration says
// nothing about the service and is left out of the histogram, and a server that
// stops does not wait for it: its context ends, with unavailable as the cause.
func LongPoll() grpc.CallOption { return longPoll{} }

func waits(opts []grpc.CallOption) bool {
	for _, o := range opts {
		if _, ok := o.(longPoll); ok {
			return true
		}
	}
	return false
}

// errStopping answers what comes or still waits while the server stops.
var errStopping = fault.New(fault.CodeUnavailable, "The service is stopping.")

// cutShort ends the context of a long poll when closing ends.
func cutShort(ctx, closing context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(closing, func() { cancel(errStopping) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// receiveCorrelation puts the ID from the wire into the context, or a new one
// when there is none or a malformed one; and the trace, if it is in one.
func receiveCorrelation(ctx context.Context) context.Context {
	if sent := metadata.ValueFromIncomingContext(ctx, traceHeader); len(sent) > 0 {
		t, _ := obs.ParseTrace(sent[0])
		ctx = obs.WithTrace(ctx, t)
	}
	if sent := metadata.ValueFromIncomingContext(ctx, correlationHeader); len(sent) > 0 {
		if c, ok := obs.ParseCorrelation(sent[0]); ok {
			return obs.WithCorrelation(ctx, c)
		}
	}
	return obs.WithCorrelation(ctx, obs.NewCorrelation())
}

// bound gives a context that ends with the call: at its deadline, or at the
// default one if it has none.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, defaultDeadline)
}
