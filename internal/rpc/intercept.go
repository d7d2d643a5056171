package rpc

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// entrance is a way into the server; closing ends when it is being shut.
type entrance struct {
	*Server
	closing context.Context
	shut    context.CancelFunc
}

func (s *Server) newEntrance() *entrance {
	closing, shut := context.WithCancel(context.Background())
	return &entrance{s, closing, shut}
}

// unary stands before every handler, in one process and over TCP. It is one
// function and not a chain, because a chain costs an allocation per link.
func (s *entrance) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !s.enter() {
		return nil, toStatus(errStopping)
	}
	defer s.running.Done()
	begin, m := time.Now(), s.method(info.FullMethod)
	ctx = receiveCorrelation(ctx)
	if _, ok := ctx.Deadline(); !ok { // a caller that is not our Conn
		var cancel context.CancelFunc
		ctx, cancel = bound(ctx)
		defer cancel()
	}
	waits := len(metadata.ValueFromIncomingContext(ctx, longPollHeader)) > 0
	if waits {
		var cancel context.CancelFunc
		ctx, cancel = cutShort(ctx, s.closing)
		defer cancel()
	}
	res, err := s.guard(ctx, m, req, handler)
	if err == nil {
		if !waits { // those of all processes come around together, and would crowd out what somebody did
			s.logOK(ctx, m, begin)
		}
		return res, nil
	}
	f := s.fault(ctx, err)
	s.logFault(ctx, m, begin, f)
	if status.Code(err) == codes.Unimplemented { // a method left out of the implementation
		return nil, errNoMethod
	}
	return nil, toStatus(f)
}

// fault is what the caller gets for err. A handler that was cut short says that
// it was canceled, but it was not its caller who did it.
func (s *entrance) fault(ctx context.Context, err error) *fault.Error {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errStopping) {
		return errStopping
	}
	return fault.From(err)
}

// stream stands before what is no unary call: nothing of ours, so beside the
// watches of the health check only names that are not registered come here.
func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if info.FullMethod == healthgrpc.Health_Watch_FullMethodName {
		return handler(srv, stream)
	}
	s.logFault(receiveCorrelation(stream.Context()), unknown, time.Now(), fault.From(errNoMethod))
	return errNoMethod
}

func (s *Server) method(name string) method {
	if m, ok := s.methods[name]; ok {
		return m
	}
	return unknown
}

var errNoResponse = errors.New("the handler gave neither a response nor an error")

// guard runs the handler and turns a panic into an internal error.
func (s *Server) guard(ctx context.Context, m method, req any, handler grpc.UnaryHandler) (res any, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.obs.Metrics.Panics.Inc(obs.PanicRPC)
			run.LogPanic(ctx, s.obs.Log(m.service), m.op, v)
			res, err = nil, fault.New(fault.CodeInternal, "")
		}
	}()
	res, err = handler(ctx, req)
	if m, ok := res.(proto.Message); err == nil && (!ok || !m.ProtoReflect().IsValid()) {
		return nil, errNoResponse // gRPC itself would send an empty one
	}
	return res, err
}

func (s *Server) logOK(ctx context.Context, m method, begin time.Time) {
	if s.obs.Sample(obs.SiteCall) {
		s.obs.Log(m.service).LogAttrs(ctx, slog.LevelInfo, "call answered",
			slog.String("op", m.op), slog.Duration("took", time.Since(begin)))
	}
}

// logFault logs a call that did not go well: a refusal is the caller's business
// and sampled, a failure is ours and always logged.
func (s *Server) logFault(ctx context.Context, m method, begin time.Time, f *fault.Error) {
	level := slog.LevelWarn
	switch outcome(f) {
	case obs.OutcomeRefused:
		if !s.obs.Sample(obs.SiteRefusal) {
			return
		}
		level = slog.LevelInfo
	default:
		if f.Code.Kind() == fault.Internal {
			level = slog.LevelError
		}
	}
	s.obs.Log(m.service).LogAttrs(ctx, level, "call not answered", slog.String("op", m.op),
		slog.String("code", obs.LogName(f.Code)), slog.Duration("took", time.Since(begin)), obs.Cause(f))
}

// outcome sorts faults: failed is what an operator can mend. A caller that went
// away was not failed by anybody.
func outcome(f *fault.Error) obs.Outcome {
	switch f.Code.Kind() {
	case fault.Timeout, fault.Unavailable, fault.Internal:
		return obs.OutcomeFailed
	default:
		return obs.OutcomeRefused
	}
}
