package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/nova-chat/nova/internal/obs"
)

const (
	maxStreams   = 1000     // calls at a time and connection
	maxMetadata  = 16 << 10 // bytes
	aliveEvery   = 20 * time.Second
	aliveTimeout = 5 * time.Second
)

// wire is the part of the server that others reach.
type wire struct {
	grpc    *grpc.Server
	health  *health.Server
	outside *entrance
}

// Listen offers the registered services on a TCP address and gives the bound
// one. Addresses other than loopback are refused until there is mutual TLS. It
// adds the step that lets running calls finish and then closes.
func (s *Server) Listen(ctx context.Context, addr string) (net.Addr, error) {
	if err := loopbackOnly(addr); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for RPC: %w", err)
	}
	w := s.open()
	s.group.Go(ctx, "rpc.serve", func(ctx context.Context) {
		if err := w.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.obs.Log(obs.Process).ErrorContext(ctx, "the RPC listener ended", obs.Cause(err))
		}
	})
	s.group.OnStop("rpc.listener", stopTime, func(ctx context.Context) error { return s.close(ctx, w) })
	return l.Addr(), nil
}

// open makes the gRPC server with everything that is registered.
func (s *Server) open() *wire {
	s.mu.Lock()
	defer s.mu.Unlock()
	outside := s.newEntrance()
	w := &wire{outside: outside, health: health.NewServer(), grpc: grpc.NewServer(
		grpc.UnaryInterceptor(outside.unary),
		grpc.StreamInterceptor(outside.stream),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return nil }), // so that stream runs
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(maxMetadata),
		grpc.ConnectionTimeout(aliveTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: aliveEvery, Timeout: aliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: aliveEvery / 2, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)}
	for _, o := range s.offered {
		w.grpc.RegisterService(o.desc, o.impl)
		w.health.SetServingStatus(o.desc.ServiceName, healthgrpc.HealthCheckResponse_SERVING)
	}
	healthgrpc.RegisterHealthServer(w.grpc, checkOnly{server: w.health})
	s.wire = w
	return w
}

// close ends the long polls and lets the other running calls finish; when ctx
// ends it cuts them off.
func (s *Server) close(ctx context.Context, w *wire) error {
	w.health.Shutdown()
	w.outside.shut()
	done := make(chan struct{})
	s.group.Go(ctx, "rpc.finish", func(context.Context) {
		defer close(done)
		w.grpc.GracefulStop()
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	// Stop waits for handlers too, and one that does not heed its context must
	// not hold up the steps after this one.
	s.group.Go(ctx, "rpc.cut", func(context.Context) { w.grpc.Stop() })
	return fmt.Errorf("calls were cut off: %w", context.Cause(ctx))
}

// checkOnly answers health checks and offers no watch: a stream that never ends
// would hold up every stop.
type checkOnly struct {
	healthgrpc.UnimplementedHealthServer
	server *health.Server
}

// Check is part of the gRPC health protocol.
func (c checkOnly) Check(ctx context.Context, req *healthgrpc.HealthCheckRequest) (*healthgrpc.HealthCheckResponse, error) {
	return c.server.Check(ctx, req)
}

// loopbackOnly refuses addresses that other machines could use.
func loopbackOnly(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("RPC address %q: want HOST:PORT", addr)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("RPC address %q is not a loopback address: until RPC has mutual TLS, use 127.0.0.1, [::1] or localhost", addr)
}
