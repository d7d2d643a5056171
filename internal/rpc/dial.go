package rpc

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// Dial makes a connection to a service that runs elsewhere, at any of addrs;
// calls take turns among those that answer. It returns at once: a service that
// is not there yet is unavailable until it is. It adds the step that closes.
func Dial(o *obs.Obs, g *run.Group, svc obs.Service, addrs []string) (*Conn, error) {
	if len(addrs) == 0 {
		return nil, fmt.Errorf("no RPC address for %s", svc)
	}
	var state resolver.State
	for _, addr := range addrs {
		if err := loopbackOnly(addr); err != nil {
			return nil, fmt.Errorf("%s: %w", svc, err)
		}
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	fixed := manual.NewBuilderWithScheme("nova")
	fixed.InitialState(state)
	cc, err := grpc.NewClient("nova:///"+svc.String(), dialOptions(fixed)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", svc, err)
	}
	g.OnStop("rpc.conn."+svc.String(), time.Second, func(context.Context) error {
		if err := cc.Close(); err != nil && status.Code(err) != codes.Canceled {
			return err
		}
		return nil
	})
	return &Conn{metrics: o.Metrics.Calls(svc), way: remote{cc}}, nil
}

func dialOptions(r resolver.Builder) []grpc.DialOption {
	reconnect := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}
	return []grpc.DialOption{
		grpc.WithResolvers(r),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // loopback alone: see loopbackOnly
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(), // not through whatever the environment names
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 2 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: aliveEvery, Timeout: aliveTimeout, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithMaxHeaderListSize(maxMetadata),
	}
}
