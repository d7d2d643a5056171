package rpc

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/nova-chat/nova/internal/obs"
)

// patience is how long a call must have waited for an answer before its absence
// says something about the called process, and not about the caller's hurry.
const patience = 500 * time.Millisecond

// remote goes over TCP.
type remote struct {
	conn    *grpc.ClientConn
	book    *book
	metrics *obs.Wire
	budget  budget
}

// invoke is part of transport. It repeats what nobody was available for, when the
// method may be repeated; another attempt goes to another address.
func (r *remote) invoke(ctx context.Context, name string, args, reply any, opts []grpc.CallOption) error {
	ctx = metadata.NewOutgoingContext(ctx, headers(ctx, opts))
	for attempt := 1; ; attempt++ {
		err := r.try(ctx, name, args, reply, opts)
		if err == nil {
			r.budget.earn()
			return nil
		}
		if attempt == mostAttempts || waits(opts) || !unavailable(err) || !repeatable(name) {
			return err
		}
		if !r.budget.spend() || !pause(ctx, attempt) {
			return err
		}
		r.metrics.Retries.Inc()
	}
}

// unavailable says that another attempt may help now: nobody was there, or who
// was there did not say when to come back.
func unavailable(err error) bool {
	s := status.Convert(err)
	return s.Code() == codes.Unavailable && !slices.ContainsFunc(s.Details(), func(d any) bool {
		_, later := d.(*errdetails.RetryInfo)
		return later
	})
}

// try makes one attempt and notes whether its address answered.
func (r *remote) try(ctx context.Context, name string, args, reply any, opts []grpc.CallOption) error {
	begin, at := time.Now(), peer.Peer{}
	err := r.conn.Invoke(ctx, name, args, reply, append(slices.Clip(opts), grpc.Peer(&at))...)
	addr, ok := addrOf(at.Addr)
	if !ok {
		return err // it did not get as far as a connection
	}
	switch status.Code(err) {
	case codes.DeadlineExceeded:
		if _, ours := codeOf(status.Convert(err)); ours {
			r.book.answered(addr)
		} else if time.Since(begin) >= patience && r.book.silent(addr) {
			r.metrics.Ejections.Inc()
		}
	case codes.Canceled, codes.Unavailable: // say nothing, or what gRPC knows itself
	default:
		r.book.answered(addr)
	}
	return err
}

func addrOf(a net.Addr) (netip.AddrPort, bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	full := tcp.AddrPort()
	return netip.AddrPortFrom(full.Addr().Unmap(), full.Port()), true
}
