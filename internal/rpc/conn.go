package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// Conn is a connection to one service, wherever it runs. The generated clients
// take it. It is safe for concurrent use.
type Conn struct {
	metrics *obs.Calls
	way     transport
}

// transport takes a call to where the service is: [local] or [remote].
type transport interface {
	invoke(ctx context.Context, name string, args, reply any, opts []grpc.CallOption) error
}

// Invoke is part of grpc.ClientConnInterface. Its error is a [*fault.Error]. A
// context without a deadline gets one of 5 s. Of the context only deadline,
// cancellation and correlation ID cross, no metadata that somebody put there.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	begin := time.Now()
	ctx, cancel := bound(ctx)
	defer cancel()
	err := c.way.invoke(ctx, method, args, reply, opts)
	if !waits(opts) {
		c.metrics.Duration.Observe(time.Since(begin))
	}
	if err == nil {
		c.metrics.Outcomes.Inc(obs.OutcomeOK)
		return nil
	}
	f := fromStatus(err)
	c.metrics.Outcomes.Inc(outcome(f))
	return f
}

// NewStream is part of grpc.ClientConnInterface and always refuses.
func (c *Conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, fault.Wrap(fault.CodeInternal, errStreams, "")
}
