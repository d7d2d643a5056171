package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// The probe is a service with a method that may be repeated and one that may not.
const (
	probeRead  = "/nova.rpctest.v1.Probe/Read"
	probeWrite = "/nova.rpctest.v1.Probe/Write"
)

var describeProbe = sync.OnceValue(func() error {
	method := func(name string, level descriptorpb.MethodOptions_IdempotencyLevel) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: new(name), InputType: new(".google.protobuf.Empty"), OutputType: new(".google.protobuf.Empty"),
			Options: &descriptorpb.MethodOptions{IdempotencyLevel: &level},
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("rpctest.proto"), Package: new("nova.rpctest.v1"), Syntax: new("proto3"),
		Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: new("Probe"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Read", descriptorpb.MethodOptions_NO_SIDE_EFFECTS), method("Write", descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN),
		}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	return protoregistry.GlobalFiles.RegisterFile(file)
})

// probe offers the service; answer gets the number of the call.
func (r *rig) probe(t *testing.T, answer func(ctx context.Context, call int64) error) *atomic.Int64 {
	t.Helper()
	if err := describeProbe(); err != nil {
		t.Fatal(err)
	}
	calls := new(atomic.Int64)
	handle := func(name string) grpc.MethodHandler {
		return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			in := new(emptypb.Empty)
			if err := decode(in); err != nil {
				return nil, err
			}
			return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: name}, func(ctx context.Context, _ any) (any, error) {
				return new(emptypb.Empty), answer(ctx, calls.Add(1))
			})
		}
	}
	r.server.Registrar(obs.Auth).RegisterService(&grpc.ServiceDesc{
		ServiceName: "nova.rpctest.v1.Probe", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Read", Handler: handle(probeRead)}, {MethodName: "Write", Handler: handle(probeWrite)}},
	}, r)
	return calls
}

func ask(ctx context.Context, c *Conn, method string, opts ...grpc.CallOption) error {
	return c.Invoke(ctx, method, new(emptypb.Empty), new(emptypb.Empty), opts...)
}

func TestOnlyWhatMayBeRepeatedIs(t *testing.T) {
	r := newRig(t)
	failing := errors.New("")
	calls := r.probe(t, func(_ context.Context, call int64) error {
		if call == 1 {
			return failing
		}
		return nil
	})
	c, o := dial(t, r.listen(t))
	for _, test := range []struct {
		name, method string
		first        error
		opts         []grpc.CallOption
		calls        int64
		ok           bool
	}{
		{"repeatable and unavailable", probeRead, fault.New(fault.CodeUnavailable, ""), nil, 2, true},
		{"unavailable alone", probeWrite, fault.New(fault.CodeUnavailable, ""), nil, 1, false},
		{"with a time to come back", probeRead, fault.New(fault.CodeUnavailable, "").After(time.Minute), nil, 1, false},
		{"a long poll", probeRead, fault.New(fault.CodeUnavailable, ""), []grpc.CallOption{LongPoll()}, 1, false},
		{"not found", probeRead, fault.New(fault.CodeNotFound, ""), nil, 1, false},
		{"internal", probeRead, errors.New("row 7"), nil, 1, false},
		{"timeout", probeRead, fault.New(fault.CodeTimeout, ""), nil, 1, false},
	} {
		calls.Store(0)
		failing = test.first
		if err := ask(soon(t), c, test.method, test.opts...); (err == nil) != test.ok || calls.Load() != test.calls {
			t.Errorf("%s: %d calls, %v", test.name, calls.Load(), err)
		}
	}
	if got := series(t, o, "rpc_retries_total"); got != "1" {
		t.Errorf("%s repeats counted", got)
	}
	if got := series(t, o, `rpc_calls_total{outcome="ok",service="auth"}`); got != "1" {
		t.Errorf("a repeated call was counted %s times", got)
	}
}

func TestRepeatsAreBounded(t *testing.T) {
	r := newRig(t)
	calls := r.probe(t, func(context.Context, int64) error { return fault.New(fault.CodeUnavailable, "") })
	c, _ := dial(t, r.listen(t))
	if err := ask(soon(t), c, probeRead); !fault.Is(err, fault.CodeUnavailable) || calls.Load() != mostAttempts {
		t.Errorf("%d attempts, %v", calls.Load(), err)
	}
	var all sync.WaitGroup
	const many = 50
	for range many {
		all.Go(func() { _ = ask(soon(t), c, probeRead) })
	}
	all.Wait()
	if n := calls.Load(); n > mostAttempts+many+budgetMost {
		t.Errorf("%d attempts of %d calls: the budget does not hold", n, many)
	}
	calls.Store(0)
	if _ = ask(soon(t), c, probeRead); calls.Load() != 1 {
		t.Errorf("%d attempts with the budget spent", calls.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), firstPause/4)
	defer cancel()
	if pause(ctx, 1) {
		t.Error("waited beyond the deadline")
	}
}

func TestTheBudgetComesBack(t *testing.T) {
	b := budget{}
	for b.spend() {
	}
	for range 9 {
		b.earn()
	}
	if b.spend() {
		t.Error("a repeat for nine calls")
	}
	for range 2 { // eleven, since tenths do not add up
		b.earn()
	}
	if !b.spend() || b.spend() {
		t.Error("not one repeat for ten calls")
	}
	for range 1000 {
		b.earn()
	}
	if b.spent != 0 {
		t.Error("more than everything came back")
	}
}

func TestBreaker(t *testing.T) {
	now, b := time.Now(), &breaker{}
	fail := func(want bool) {
		t.Helper()
		if b.failure(now) != want {
			t.Errorf("opened %v", !want)
		}
	}
	fail(false)
	fail(false)
	b.success()
	fail(false)
	fail(false)
	fail(true)
	fail(false) // a call from before
	for _, off := range []time.Duration{5, 10, 20, 40, 60, 60} {
		if got := b.closedIn(now); got != off*time.Second {
			t.Errorf("set aside for %v, want %d s", got, off)
		}
		now = now.Add(off * time.Second)
		if b.closedIn(now) > 0 {
			t.Error("still set aside")
		}
		fail(true) // the first silent call is enough
	}
	now = now.Add(longestOff)
	b.success()
	fail(false)
	fail(false)
	fail(true)
	if got := b.closedIn(now); got != shortestOff {
		t.Errorf("after an answer set aside for %v", got)
	}
}

// proxy passes bytes on until it is frozen: then it takes connections and bytes
// and gives nothing back, as a process does that was stopped.
type proxy struct {
	net.Listener
	to     string
	frozen atomic.Bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.pass(t.Context(), c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return p
}

func (p *proxy) pass(ctx context.Context, c net.Conn) {
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		_ = c.Close()
		return
	}
	end := func() { _, _ = c.Close(), far.Close() }
	defer context.AfterFunc(ctx, end)()
	defer end()
	go func() { _, _ = io.Copy(far, c); end() }()
	_, _ = io.Copy(thawed{p, c}, far)
}

// thawed drops what it is given while the proxy is frozen.
type thawed struct {
	*proxy
	net.Conn
}

func (w thawed) Write(b []byte) (int, error) {
	if w.frozen.Load() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

// patient gives a call just long enough for its silence to count.
func patient(c authpb.AuthClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience+100*time.Millisecond)
	defer cancel()
	_, err := c.Accounts(ctx, &authpb.AccountsRequest{})
	return err
}

func TestOneThatHangsIsSetAside(t *testing.T) {
	var rigs [2]*rig
	for i := range rigs {
		rigs[i] = newRig(t)
		rigs[i].answer(func(context.Context, *authpb.AccountsRequest) error { return nil })
	}
	p := newProxy(t, rigs[0].listen(t))
	c, o := dial(t, p.Addr().String(), rigs[1].listen(t))
	client := authpb.NewAuthClient(c)
	for range 20 {
		if _, err := client.Accounts(soon(t), &authpb.AccountsRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	p.frozen.Store(true)
	silent := 0
	for series(t, o, "rpc_ejections_total") == "0" {
		if err := patient(client); fault.Is(err, fault.CodeTimeout) {
			silent++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if silent < silentCalls {
		t.Errorf("set aside after %d silent calls", silent)
	}
	ctx := soon(t)
	for good := 0; good < 100; good++ { // gRPC learns of it a moment later
		if patient(client) != nil {
			good = 0
		}
		if ctx.Err() != nil {
			t.Fatal("it still gets calls")
		}
	}
}

func TestTheOnlyOneHangs(t *testing.T) {
	r := newRig(t)
	r.answer(func(context.Context, *authpb.AccountsRequest) error { return nil })
	p := newProxy(t, r.listen(t))
	c, o := dial(t, p.Addr().String())
	client := authpb.NewAuthClient(c)
	if err := patient(client); err != nil {
		t.Fatal(err)
	}
	p.frozen.Store(true)
	for series(t, o, "rpc_ejections_total") == "0" {
		if err := patient(client); !fault.Is(err, fault.CodeTimeout) {
			t.Fatalf("silence gave %v", err)
		}
	}
	p.frozen.Store(false)
	for !fault.Is(patient(client), fault.CodeUnavailable) { // gRPC learns of it a moment later
	}
	for patient(client) != nil { // and it is let in again by itself
	}
}

func TestAListenerThatNeverAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c, _ := dial(t, l.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := authpb.NewAuthClient(c).Accounts(ctx, &authpb.AccountsRequest{}); !fault.Is(err, fault.CodeTimeout) {
		t.Errorf("within the deadline: %v", err)
	}
	if _, err := authpb.NewAuthClient(c).Accounts(soon(t), &authpb.AccountsRequest{}); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("beyond the time for a connection: %v", err)
	}
}

func TestOneIsKilled(t *testing.T) {
	var rigs [2]*rig
	var addrs []string
	for i := range rigs {
		rigs[i] = newRig(t)
		rigs[i].probe(t, func(context.Context, int64) error { return nil })
		addrs = append(addrs, rigs[i].listen(t))
	}
	c, _ := dial(t, addrs...)
	for range 20 {
		if err := ask(soon(t), c, probeRead); err != nil {
			t.Fatal(err)
		}
	}
	rigs[0].server.wire.grpc.Stop() // at once, without a word
	for range 200 {
		if err := ask(soon(t), c, probeRead); err != nil {
			t.Fatalf("a call that may be repeated: %v", err)
		}
	}
}

func TestANodeThatDrainsFailsNobody(t *testing.T) {
	var rigs [2]*rig
	var addrs []string
	for i := range rigs {
		rigs[i] = newRig(t)
		rigs[i].probe(t, func(context.Context, int64) error { return nil })
		addrs = append(addrs, rigs[i].listen(t))
	}
	c, _ := dial(t, addrs...)
	stopped := make(chan error, 1)
	for i := 0; ; i++ {
		if i == 50 {
			go func() { stopped <- rigs[0].group.Stop(soon(t)).Err() }()
		}
		if err := ask(soon(t), c, probeWrite); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		select {
		case err := <-stopped:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

func TestOneThatDoesNotServeIsPassedOver(t *testing.T) {
	var rigs [2]*rig
	var calls [2]*atomic.Int64
	var addrs []string
	for i := range rigs {
		rigs[i] = newRig(t)
		calls[i] = rigs[i].probe(t, func(context.Context, int64) error { return nil })
		addrs = append(addrs, rigs[i].listen(t))
	}
	c, _ := dial(t, addrs...)
	turns := func(done func() bool) {
		t.Helper()
		for ctx := soon(t); !done(); {
			if err := ask(ctx, c, probeWrite); err != nil {
				t.Fatal(err)
			}
		}
	}
	turns(func() bool { return calls[0].Load() > 0 && calls[1].Load() > 0 })
	rigs[0].server.wire.health.SetServingStatus("", healthgrpc.HealthCheckResponse_NOT_SERVING)
	last, since := calls[0].Load(), calls[1].Load()
	turns(func() bool { // a hundred calls in a row without it
		if n := calls[0].Load(); n != last {
			last, since = n, calls[1].Load()
		}
		return calls[1].Load() >= since+100
	})
	rigs[0].server.wire.health.SetServingStatus("", healthgrpc.HealthCheckResponse_SERVING)
	turns(func() bool { return calls[0].Load() > last })
}

// told notes what gRPC would be given.
type told struct {
	resolver.ClientConn
	states [][]string
}

func (c *told) UpdateState(s resolver.State) error {
	var addrs []string
	for _, e := range s.Endpoints {
		addrs = append(addrs, e.Addresses[0].Addr)
	}
	c.states = append(c.states, addrs)
	return nil
}

func TestOnlyNewsIsTold(t *testing.T) {
	b, conn, now := newBook([]string{"127.0.0.1:1", "127.0.0.1:2"}), &told{}, time.Now()
	if _, err := b.Build(resolver.Target{}, conn, resolver.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	b.refresh(t.Context())
	if next := b.tell(now); next != resolveEvery {
		t.Errorf("again in %v", next)
	}
	b.tell(now)
	first := b.current()[0]
	for range silentCalls {
		b.silent(first)
	}
	if next := b.tell(now); next > shortestOff+time.Second || next <= 0 {
		t.Errorf("again in %v", next)
	}
	b.tell(now.Add(time.Second))
	b.tell(now.Add(longestOff))
	b.Close()
	b.tell(now)
	want := [][]string{{"127.0.0.1:1", "127.0.0.1:2"}, {"127.0.0.1:2"}, {"127.0.0.1:1", "127.0.0.1:2"}}
	if diff := cmp.Diff(want, conn.states); diff != "" {
		t.Error(diff)
	}
}

func TestNamesAreResolvedAndKept(t *testing.T) {
	answer, broken := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.2")}, error(nil)
	b := newBook([]string{"auth.internal:8082", "auth.internal:9000"})
	b.lookup = func(_ context.Context, network, host string) ([]netip.Addr, error) {
		if network != "ip" || host != "auth.internal" {
			t.Errorf("asked for %s %s", network, host)
		}
		return answer, broken
	}
	want := func(all ...string) {
		t.Helper()
		b.refresh(t.Context())
		var got []string
		for _, a := range b.current() {
			got = append(got, a.String())
		}
		if len(got) != len(all) {
			t.Fatalf("%v, want %v", got, all)
		}
		for i := range all {
			if got[i] != all[i] {
				t.Errorf("%v, want %v", got, all)
			}
		}
	}
	want("10.0.0.1:8082", "10.0.0.1:9000", "10.0.0.2:8082", "10.0.0.2:9000")
	answer = answer[1:]
	want("10.0.0.2:8082", "10.0.0.2:9000")
	answer, broken = nil, errors.New("no such host")
	want("10.0.0.2:8082", "10.0.0.2:9000")
	if len(b.peers) != 2 {
		t.Errorf("%d breakers", len(b.peers))
	}
}
