package rpc

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"google.golang.org/grpc"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// Server holds the services that this process offers, to itself and, after
// [Server.Listen], to others. Register everything first, then call and listen.
type Server struct {
	obs   *obs.Obs
	group *run.Group

	local   [obs.Process]*local
	inside  *entrance // of calls from this process
	methods map[string]method
	offered []offer

	mu       sync.RWMutex // guards what follows
	stopping bool
	running  sync.WaitGroup // handlers; grows only while not stopping
	wire     *wire          // nil until Listen
}

// offer is a registered implementation.
type offer struct {
	desc *grpc.ServiceDesc
	impl any
}

// stopTime is how long running calls may take at the stop.
const stopTime = 10 * time.Second

// NewServer makes a server without services. It adds the step that refuses new
// calls and waits for those that run.
func NewServer(o *obs.Obs, g *run.Group) *Server {
	s := &Server{obs: o, group: g, methods: map[string]method{healthgrpc.Health_Check_FullMethodName: check}}
	s.inside = s.newEntrance()
	for i := range s.local {
		s.local[i] = &local{s, map[string]handler{}}
	}
	g.OnStop("rpc.calls", stopTime, s.stop)
	return s
}

// Registrar takes the implementation of what svc offers.
func (s *Server) Registrar(svc obs.Service) grpc.ServiceRegistrar { return registrar{s, svc} }

type registrar struct {
	server  *Server
	service obs.Service
}

// RegisterService is part of grpc.ServiceRegistrar. It panics when the
// implementation does not fit, when the name is taken, and after Listen.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire != nil {
		panic(fmt.Sprintf("rpc: %s is registered after Listen", desc.ServiceName))
	}
	if want := reflect.TypeOf(desc.HandlerType).Elem(); !reflect.TypeOf(impl).Implements(want) {
		panic(fmt.Sprintf("rpc: %T does not implement %s", impl, desc.ServiceName))
	}
	for name, m := range methods(r.service, desc) {
		if _, taken := s.methods[name]; taken {
			panic(fmt.Sprintf("rpc: %s is registered twice", desc.ServiceName))
		}
		s.methods[name] = m
	}
	s.local[r.service].register(desc, impl)
	s.offered = append(s.offered, offer{desc, impl})
}

// Conn is a connection to a service of this process. A method that svc has not
// registered is unimplemented, whatever other services have.
func (s *Server) Conn(svc obs.Service) *Conn {
	return &Conn{metrics: s.obs.Metrics.Calls(svc), way: s.local[svc]}
}

// services are those that have registered something.
func (s *Server) services() (all []obs.Service) {
	for _, svc := range obs.Services() {
		if len(s.local[svc].methods) > 0 {
			all = append(all, svc)
		}
	}
	return all
}

// enter counts a call in; it is refused when the server is stopping.
func (s *Server) enter() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stopping {
		return false
	}
	s.running.Add(1)
	return true
}

func (s *Server) stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.inside.shut()
	done := make(chan struct{})
	s.group.Go(ctx, "rpc.wait", func(context.Context) {
		defer close(done)
		s.running.Wait()
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("calls still run: %w", context.Cause(ctx))
	}
}
