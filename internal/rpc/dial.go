package rpc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// DialConfig is how to reach a service that runs elsewhere.
type DialConfig struct {
	Certificates *certs.Source // nil = no TLS, and loopback addresses alone
}

// Dial makes a connection to a service that runs elsewhere, at any of addrs
// (HOST:PORT; a name stands for all of its addresses and is looked up again and
// again). Calls take turns among those that answer. It returns at once and
// connects in the background: a service that is not there yet is unavailable
// until it is. It adds the step that closes.
func Dial(o *obs.Obs, g *run.Group, svc obs.Service, addrs []string, cfg DialConfig) (*Conn, error) {
	if len(addrs) == 0 {
		return nil, fmt.Errorf("no RPC address for %s", svc)
	}
	for _, addr := range addrs {
		if err := reachable(addr, cfg.Certificates); err != nil {
			return nil, fmt.Errorf("%s: %w", svc, err)
		}
	}
	b := newBook(slices.Clone(addrs))
	cc, err := grpc.NewClient(scheme+":///"+svc.String(), append(dialOptions(b), grpc.WithTransportCredentials(security(o, cfg.Certificates, svc)))...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", svc, err)
	}
	g.OnStop("rpc.conn."+svc.String(), time.Second, func(context.Context) error {
		if err := cc.Close(); err != nil && status.Code(err) != codes.Canceled {
			return err
		}
		return nil
	})
	g.Worker("rpc.addresses."+svc.String(), time.Second, b.keep)
	cc.Connect()
	return &Conn{metrics: o.Metrics.Calls(svc), way: &remote{conn: cc, book: b, metrics: o.Metrics.Wire()}}, nil
}

// balanced takes turns among the connections that stand and whose process says
// that it serves.
const balanced = `{"loadBalancingConfig":[{"round_robin":{}}],"healthCheckConfig":{"serviceName":""}}`

func dialOptions(b *book) []grpc.DialOption {
	reconnect := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}
	return []grpc.DialOption{
		grpc.WithResolvers(b),
		grpc.WithDefaultServiceConfig(balanced),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // remote repeats, within its budget
		grpc.WithIdleTimeout(0), // a connection that stands need not be waited for
		grpc.WithNoProxy(),      // not through whatever the environment names
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 2 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: aliveEvery, Timeout: aliveTimeout, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithMaxHeaderListSize(maxMetadata),
	}
}
