package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/obs"
)

const (
	maxStreams   = 1000     // calls at a time and connection
	maxMetadata  = 16 << 10 // bytes
	aliveEvery   = 20 * time.Second
	aliveTimeout = 5 * time.Second
	renewEvery   = time.Hour   // a connection is replaced, so that no certificate stays in use for long
	renewGrace   = time.Minute // for the calls on the old one
)

// wire is the part of the server that others reach.
type wire struct {
	grpc    *grpc.Server
	health  *health.Server
	outside *entrance
}

// ListenConfig is how others reach this process.
type ListenConfig struct {
	Certificates *certs.Source // nil = no TLS, and a loopback address alone
}

// Listen offers the registered services on a TCP address and gives the bound
// one. It adds the step that lets running calls finish and then closes. With
// certificates it refuses callers whose own does not hold; its error is a
// [*certs.Error] when this process's own does not name all that it offers.
func (s *Server) Listen(ctx context.Context, addr string, cfg ListenConfig) (net.Addr, error) {
	if err := reachable(addr, cfg.Certificates); err != nil {
		return nil, err
	}
	if cfg.Certificates != nil {
		if err := cfg.Certificates.Require(s.services()...); err != nil {
			return nil, err
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for RPC: %w", err)
	}
	w := s.open(cfg)
	s.group.Go(ctx, "rpc.serve", func(ctx context.Context) {
		if err := w.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.obs.Log(obs.Process).ErrorContext(ctx, "the RPC listener ended", obs.Cause(err))
		}
	})
	s.group.OnStop("rpc.listener", stopTime, func(ctx context.Context) error { return s.close(ctx, w) })
	return l.Addr(), nil
}

// open makes the gRPC server with everything that is registered.
func (s *Server) open(cfg ListenConfig) *wire {
	s.mu.Lock()
	defer s.mu.Unlock()
	outside := s.newEntrance()
	w := &wire{outside: outside, health: health.NewServer(), grpc: grpc.NewServer(
		grpc.Creds(security(s.obs, cfg.Certificates, obs.Process)),
		grpc.UnaryInterceptor(outside.unary),
		grpc.StreamInterceptor(outside.stream),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return nil }), // so that stream runs
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(maxMetadata),
		grpc.ConnectionTimeout(aliveTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: aliveEvery, Timeout: aliveTimeout,
			MaxConnectionAge: renewEvery, MaxConnectionAgeGrace: renewGrace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: aliveEvery / 2, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)}
	for _, o := range s.offered {
		w.grpc.RegisterService(o.desc, o.impl)
		w.health.SetServingStatus(o.desc.ServiceName, healthgrpc.HealthCheckResponse_SERVING)
	}
	healthgrpc.RegisterHealthServer(w.grpc, checks{server: w.health, closing: outside.closing})
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

// checks answers health checks. Callers watch, and leave out a process that says
// it does not serve; a stop ends their watches, which would hold it up.
type checks struct {
	healthgrpc.UnimplementedHealthServer
	server  *health.Server
	closing context.Context
}

// Check is part of the gRPC health protocol.
func (c checks) Check(ctx context.Context, req *healthgrpc.HealthCheckRequest) (*healthgrpc.HealthCheckResponse, error) {
	return c.server.Check(ctx, req)
}

// Watch is part of the gRPC health protocol.
func (c checks) Watch(req *healthgrpc.HealthCheckRequest, stream healthgrpc.Health_WatchServer) error {
	ctx, cancel := cutShort(stream.Context(), c.closing)
	defer cancel()
	return c.server.Watch(req, watch{stream, ctx})
}

// watch is a stream that ends with the server too.
type watch struct {
	healthgrpc.Health_WatchServer
	ctx context.Context
}

// Context is part of grpc.ServerStream.
func (w watch) Context() context.Context { return w.ctx }
