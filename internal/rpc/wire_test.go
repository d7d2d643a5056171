package rpc

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

func TestOnlyLoopback(t *testing.T) {
	r := newRig(t)
	for _, addr := range []string{":8082", "0.0.0.0:0", "[::]:0", "10.1.2.3:8082", "example.com:1", "127.0.0.1", "localhost.example.com:1"} {
		if a, err := r.server.Listen(context.Background(), addr, ListenConfig{}); err == nil {
			t.Errorf("listens on %v", a)
		}
		if _, err := Dial(r.obs, r.group, obs.Auth, []string{"127.0.0.1:1", addr}, DialConfig{}); err == nil {
			t.Errorf("dials %s", addr)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "localhost:0", "[::ffff:127.0.0.1]:0"} {
		if err := loopbackOnly(addr); err != nil {
			t.Error(err)
		}
	}
	if _, err := Dial(r.obs, r.group, obs.Auth, nil, DialConfig{}); err == nil {
		t.Error("dials nobody")
	}
}

func TestCallsTakeTurnsAndSurviveALoss(t *testing.T) {
	var counts [2]atomic.Int64
	var rigs [2]*rig
	var addrs []string
	for i := range rigs {
		rigs[i] = newRig(t)
		rigs[i].answer(func(context.Context, *authpb.AccountsRequest) error { counts[i].Add(1); return nil })
		addrs = append(addrs, rigs[i].listen(t))
	}
	c, _ := dial(t, addrs...)
	client := authpb.NewAuthClient(c)
	for counts[0].Load() == 0 || counts[1].Load() == 0 { // connecting takes its time
		if _, err := client.Accounts(soon(t), &authpb.AccountsRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rigs[0].group.Stop(soon(t)).Err(); err != nil {
		t.Fatal(err)
	}
	before, ctx := counts[1].Load(), soon(t)
	for counts[1].Load() < before+20 {
		if _, err := client.Accounts(ctx, &authpb.AccountsRequest{}); err != nil && !fault.Is(err, fault.CodeUnavailable) {
			t.Fatal(err)
		}
	}
}

func TestNobodyThereIsUnavailable(t *testing.T) {
	c, _ := dial(t, "127.0.0.1:1")
	_, err := authpb.NewAuthClient(c).Accounts(soon(t), &authpb.AccountsRequest{})
	if !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("got %v", err)
	}
}

// raw connects without our Conn, as a stranger would.
func raw(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func TestHealth(t *testing.T) {
	r := newRig(t)
	h := healthgrpc.NewHealthClient(raw(t, r.listen(t)))
	res, err := h.Check(soon(t), &healthgrpc.HealthCheckRequest{Service: "nova.auth.v1.Auth"})
	if err != nil || res.GetStatus() != healthgrpc.HealthCheckResponse_SERVING {
		t.Errorf("auth: %v, %v", res, err)
	}
	if _, err := h.Check(soon(t), &healthgrpc.HealthCheckRequest{Service: "nova.user.v1.Users"}); status.Code(err) != codes.Internal && status.Code(err) != codes.NotFound {
		t.Errorf("a service that is not here: %v", err)
	}
	w, err := h.Watch(soon(t), &healthgrpc.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := w.Recv(); err != nil || res.GetStatus() != healthgrpc.HealthCheckResponse_SERVING {
		t.Errorf("watch: %v, %v", res, err)
	}
	if rep := r.group.Stop(soon(t)); rep.Err() != nil || rep.GoroutinesLeft != 0 {
		t.Errorf("a watch held up the stop: %+v", rep)
	}
	for err == nil { // that it does not serve any more may come first
		_, err = w.Recv()
	}
}

func TestStrangersOnTheWire(t *testing.T) {
	r := newRig(t)
	seen := make(chan context.Context, 1)
	r.answer(func(ctx context.Context, _ *authpb.AccountsRequest) error { seen <- ctx; return nil })
	client := authpb.NewAuthClient(raw(t, r.listen(t)))
	ctx := metadata.AppendToOutgoingContext(soon(t), correlationHeader, "not one~", "x-user-id", "root")
	if _, err := client.Accounts(ctx, &authpb.AccountsRequest{}); err != nil {
		t.Fatal(err)
	}
	if c := obs.CorrelationFrom(<-seen); !strings.HasPrefix(string(c), "0") {
		t.Errorf("correlation %q", c)
	}
	ctx = metadata.AppendToOutgoingContext(soon(t), "x-fill", strings.Repeat("x", maxMetadata))
	if _, err := client.Accounts(ctx, &authpb.AccountsRequest{}); err == nil {
		t.Error("16 KiB of metadata were accepted")
	}
	if _, err := client.Accounts(soon(t), &authpb.AccountsRequest{Ids: []string{strings.Repeat("x", MaxMessage)}}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("4 MiB and a bit: %v", err)
	}
	if _, err := client.Accounts(context.Background(), &authpb.AccountsRequest{}); err != nil {
		t.Error(err)
	} else if d, ok := (<-seen).Deadline(); !ok || time.Until(d) > defaultDeadline {
		t.Error("a call without a deadline did not get one")
	}
}

func TestStopFinishesWhatRunsAndRefusesTheRest(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		entered, finish := make(chan struct{}), make(chan struct{})
		r.answer(func(context.Context, *authpb.AccountsRequest) error { close(entered); <-finish; return nil })
		answered := make(chan error, 1)
		go func() {
			_, err := client.Accounts(soon(t), &authpb.AccountsRequest{})
			answered <- err
		}()
		<-entered
		stopped := make(chan run.Report, 1)
		go func() { stopped <- r.group.Stop(soon(t)) }()
		refused := func() error {
			_, err := client.CheckSession(soon(t), &authpb.CheckSessionRequest{})
			return err
		}
		for !fault.Is(refused(), fault.CodeUnavailable) { // until the stop has begun
			runtime.Gosched()
		}
		close(finish)
		if err := <-answered; err != nil {
			t.Errorf("the running call: %v", err)
		}
		if rep := <-stopped; rep.Err() != nil || rep.GoroutinesLeft != 0 {
			t.Errorf("stop: %+v", rep)
		}
	})
}

func TestStopDoesNotWaitForLongPolls(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		entered := make(chan struct{})
		r.answer(func(ctx context.Context, _ *authpb.AccountsRequest) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		})
		answered := make(chan error, 1)
		go func() {
			_, err := client.Accounts(soon(t), &authpb.AccountsRequest{}, LongPoll())
			answered <- err
		}()
		<-entered
		if rep := r.group.Stop(soon(t)); rep.Err() != nil || rep.GoroutinesLeft != 0 {
			t.Errorf("stop: %+v", rep)
		}
		if err := <-answered; !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("the long poll got %v", err)
		}
	})
}

func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	r := newRig(t)
	entered := make(chan struct{})
	r.answer(func(ctx context.Context, _ *authpb.AccountsRequest) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	})
	c, _ := dial(t, r.listen(t))
	answered := make(chan error, 1)
	go func() {
		_, err := authpb.NewAuthClient(c).Accounts(soon(t), &authpb.AccountsRequest{})
		answered <- err
	}()
	<-entered
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if rep := r.group.Stop(now); rep.Err() == nil || rep.GoroutinesLeft != 0 {
		t.Errorf("stop: %+v", rep)
	}
	if err := <-answered; err == nil {
		t.Error("the call that was cut off went well")
	}
}

func TestRegisteringWronglyPanics(t *testing.T) {
	mustPanic := func(name string, fn func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s did not panic", name)
			}
		}()
		fn()
	}
	r := newRig(t)
	mustPanic("a second time", func() { authpb.RegisterAuthServer(r.server.Registrar(obs.User), r.auth) })
	mustPanic("the wrong type", func() { r.server.Registrar(obs.User).RegisterService(&healthgrpc.Health_ServiceDesc, r.auth) })
	r.listen(t)
	mustPanic("after Listen", func() {
		r.server.Registrar(obs.User).RegisterService(&healthgrpc.Health_ServiceDesc, checks{})
	})
}
