package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// MaxMessage is the largest message in bytes, in either direction.
const MaxMessage = 4 << 20

// local is the transport inside one process. Messages cross it as bytes, as they
// do on a wire: neither side can see what the other does to its own, and what a
// wire would refuse (size, text that is not UTF-8) is refused here.
//
// grpchan's in-process channel was tried first: the call that alloc_test.go
// measures took 46 allocations over it and takes 37 here, and it reads the
// request when the caller may be gone and may have changed it.
type local struct {
	server  *Server
	methods map[string]handler // by full name
}

// handler is a registered method and its implementation.
type handler struct {
	desc *grpc.MethodDesc
	impl any
}

// call is one call under way. The caller may leave before it is done, so the
// handler's goroutine touches nothing of the caller's.
type call struct {
	request  []byte
	response []byte
	err      error
	done     chan struct{}
}

func (l *local) register(desc *grpc.ServiceDesc, impl any) {
	for i := range desc.Methods {
		l.methods["/"+desc.ServiceName+"/"+desc.Methods[i].MethodName] = handler{&desc.Methods[i], impl}
	}
}

// invoke is part of transport.
func (l *local) invoke(ctx context.Context, name string, args, reply any, opts []grpc.CallOption) error {
	h, ok := l.methods[name]
	if !ok {
		return errNoMethod
	}
	request, err := encode(args)
	if err != nil {
		return err
	}
	c := &call{request: request, done: make(chan struct{})}
	handled := metadata.NewIncomingContext(bare{ctx}, headers(ctx, opts))
	l.server.group.Go(handled, "rpc.call", func(context.Context) {
		defer close(c.done)
		c.run(handled, h, l.server.inside.unary)
	})
	select {
	case <-c.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.err != nil {
		return c.err
	}
	return decode(c.response, reply)
}

// run has the generated code read the request and call the implementation.
func (c *call) run(ctx context.Context, h handler, intercept grpc.UnaryServerInterceptor) {
	res, err := h.desc.Handler(h.impl, ctx, func(in any) error { return decode(c.request, in) }, intercept)
	if err == nil {
		c.response, err = encode(res)
	}
	c.err = err
}

func encode(m any) ([]byte, error) {
	msg, ok := m.(proto.Message)
	if !ok || !msg.ProtoReflect().IsValid() {
		return nil, status.Error(codes.Internal, "not a message, or none")
	}
	b, err := proto.Marshal(msg)
	if err != nil {
		return nil, status.Error(codes.Internal, "the message cannot be encoded: "+err.Error())
	}
	if len(b) > MaxMessage {
		return nil, status.Error(codes.ResourceExhausted, "the message is larger than 4 MiB")
	}
	return b, nil
}

func decode(b []byte, m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return status.Error(codes.Internal, "not a message")
	}
	if err := proto.Unmarshal(b, msg); err != nil {
		return status.Error(codes.Internal, "the message cannot be decoded: "+err.Error())
	}
	return nil
}

// bare is a context without its values: what a wire would leave of it.
type bare struct{ context.Context }

// Value is part of context.Context.
func (bare) Value(any) any { return nil }

// AfterFunc spares package context a goroutine for each context made from this
// one: without it, it cannot see through a type that is not its own.
func (b bare) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(b.Context, f) }

var errStreams = errors.New("no streams between services")
