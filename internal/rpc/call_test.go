package rpc

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

type foreignKey struct{}

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestOnlyCorrelationAndDeadlineCross(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		seen := make(chan context.Context, 1)
		r.answer(func(ctx context.Context, _ *authpb.AccountsRequest) error { seen <- ctx; return nil })
		ctx := context.WithValue(obs.WithTrace(obs.WithCorrelation(soon(t), "test-123"), traceparent), foreignKey{}, "leak")
		ctx = metadata.AppendToOutgoingContext(ctx, "x-user-id", "somebody")
		if _, err := client.Accounts(ctx, &authpb.AccountsRequest{}); err != nil {
			t.Fatal(err)
		}
		got := <-seen
		if got.Value(foreignKey{}) != nil {
			t.Error("a value of the caller's context reached the handler")
		}
		if md, _ := metadata.FromIncomingContext(got); len(md["x-user-id"]) > 0 {
			t.Error("metadata of the caller's context reached the handler")
		}
		if c := obs.CorrelationFrom(got); c != "test-123" {
			t.Errorf("correlation %q, want test-123", c)
		}
		if trace := obs.TraceFrom(got); trace != traceparent {
			t.Errorf("trace %q", trace)
		}
		sent, _ := ctx.Deadline()
		if arrived, ok := got.Deadline(); !ok || arrived.Sub(sent).Abs() > 5*time.Second {
			t.Errorf("deadline %v, want about %v", arrived, sent)
		}
		select {
		case <-got.Done():
		case <-soon(t).Done():
			t.Error("the handler's context outlives the call")
		}
	})
}

func TestACallWithoutCorrelationAndDeadlineGetsThem(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		seen := make(chan context.Context, 1)
		r.answer(func(ctx context.Context, _ *authpb.AccountsRequest) error { seen <- ctx; return nil })
		if _, err := client.Accounts(context.Background(), &authpb.AccountsRequest{}); err != nil {
			t.Fatal(err)
		}
		got := <-seen
		if _, ok := obs.ParseCorrelation(string(obs.CorrelationFrom(got))); !ok {
			t.Errorf("correlation %q", obs.CorrelationFrom(got))
		}
		if d, ok := got.Deadline(); !ok || time.Until(d) > defaultDeadline {
			t.Errorf("deadline in %v", time.Until(d))
		}
	})
}

func TestMalformedCorrelationIsReplaced(t *testing.T) {
	for _, sent := range []string{"", "a b", "a\r\nb", strings.Repeat("x", 65), "refresh~part"} {
		ctx := metadata.NewIncomingContext(context.Background(), metadata.MD{correlationHeader: {sent}})
		if got := obs.CorrelationFrom(receiveCorrelation(ctx)); got == obs.Correlation(sent) || got == "" {
			t.Errorf("%q gave %q", sent, got)
		}
	}
}

func TestMessagesAreCopied(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		kept := &authpb.AccountsResponse{Accounts: []*authpb.Account{{Id: "A"}}}
		r.auth.accounts = func(_ context.Context, in *authpb.AccountsRequest) (*authpb.AccountsResponse, error) {
			in.Ids[0] = "changed by the handler"
			return kept, nil
		}
		in := &authpb.AccountsRequest{Ids: []string{"A"}}
		out, err := client.Accounts(soon(t), in)
		if err != nil {
			t.Fatal(err)
		}
		if in.GetIds()[0] != "A" {
			t.Error("the handler changed the caller's request")
		}
		if diff := cmp.Diff(kept, out, protocmp.Transform()); diff != "" {
			t.Errorf("response (-sent +arrived):\n%s", diff)
		}
		out.Accounts[0].Id = "changed by the caller"
		if kept.GetAccounts()[0].GetId() != "A" {
			t.Error("the caller changed the handler's response")
		}
	})
}

func TestMessagesThatCannotCross(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		r.answer(func(context.Context, *authpb.AccountsRequest) error { return nil })
		large := []string{strings.Repeat("x", MaxMessage)}
		if _, err := client.Accounts(soon(t), &authpb.AccountsRequest{Ids: large}); !fault.Is(err, fault.CodeTooLarge) {
			t.Errorf("4 MiB and a bit: %v", err)
		}
		if _, err := client.Accounts(soon(t), &authpb.AccountsRequest{Ids: []string{"\xff"}}); !fault.Is(err, fault.CodeInternal) {
			t.Errorf("text that is not UTF-8: %v", err)
		}
		r.auth.accounts = func(context.Context, *authpb.AccountsRequest) (*authpb.AccountsResponse, error) { return nil, nil }
		if _, err := client.Accounts(soon(t), &authpb.AccountsRequest{}); !fault.Is(err, fault.CodeInternal) {
			t.Errorf("neither response nor error: %v", err)
		}
	})
}

func TestAPanicEndsTheCallAlone(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		r.answer(func(context.Context, *authpb.AccountsRequest) error { panic("boom") })
		if _, err := client.Accounts(soon(t), &authpb.AccountsRequest{}); !fault.Is(err, fault.CodeInternal) || strings.Contains(err.Error(), "boom") {
			t.Errorf("arrived: %v", err)
		}
		if got := series(t, r.obs, `panics_total{site="rpc"}`); got != "1" {
			t.Errorf("%s panics counted", got)
		}
		r.answer(func(context.Context, *authpb.AccountsRequest) error { return nil })
		if _, err := client.Accounts(soon(t), &authpb.AccountsRequest{}); err != nil {
			t.Errorf("the next call: %v", err)
		}
	})
}

func TestTheCallerMayLeave(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		entered, left := make(chan struct{}), make(chan error, 1)
		r.answer(func(ctx context.Context, _ *authpb.AccountsRequest) error {
			close(entered)
			<-ctx.Done()
			left <- ctx.Err()
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(soon(t))
		go func() { <-entered; cancel() }()
		if _, err := client.Accounts(ctx, &authpb.AccountsRequest{}); !fault.Is(err, fault.CodeCanceled) {
			t.Errorf("the caller got %v", err)
		}
		<-left // the handler noticed
	})
}

func TestADeadlineEndsTheCall(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		r.answer(func(ctx context.Context, _ *authpb.AccountsRequest) error { <-ctx.Done(); return ctx.Err() })
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := client.Accounts(ctx, &authpb.AccountsRequest{}); !fault.Is(err, fault.CodeTimeout) {
			t.Errorf("the caller got %v", err)
		}
	})
}

func TestCallsAreCountedOnceByTheCaller(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, caller *obs.Obs, client authpb.AuthClient) {
		call := func(err error, opts ...grpc.CallOption) {
			r.answer(func(context.Context, *authpb.AccountsRequest) error { return err })
			_, _ = client.Accounts(soon(t), &authpb.AccountsRequest{}, opts...)
		}
		call(nil)
		call(nil, LongPoll())
		call(fault.New(fault.CodeNotFound, ""))
		call(fault.New(fault.CodeStorageFull, ""))
		for line, want := range map[string]string{
			`rpc_calls_total{outcome="ok",service="auth"}`:      "2",
			`rpc_calls_total{outcome="refused",service="auth"}`: "1",
			`rpc_calls_total{outcome="failed",service="auth"}`:  "1",
			`rpc_call_duration_seconds_count{service="auth"}`:   "3",
		} {
			if got := series(t, caller, line); got != want {
				t.Errorf("%s %s, want %s", line, got, want)
			}
		}
	})
}

// Long polls of all processes come around in the same second, again and again, and
// of a second only so many lines are kept.
func TestOnlyCallsThatDoSomethingAreLogged(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		r.answer(func(context.Context, *authpb.AccountsRequest) error { return nil })
		for range 20 {
			if _, err := client.Accounts(soon(t), &authpb.AccountsRequest{}, LongPoll()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.Accounts(obs.WithCorrelation(soon(t), "test-123"), &authpb.AccountsRequest{}); err != nil {
			t.Fatal(err)
		}
		if all := r.log.String(); strings.Count(all, "call answered") != 1 || !strings.Contains(all, "test-123") {
			t.Errorf("the log is\n%s", all)
		}
	})
}

func TestUnknownMethods(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		if _, err := client.CheckSession(soon(t), &authpb.CheckSessionRequest{}); !fault.Is(err, fault.CodeInternal) {
			t.Errorf("a method left out of the implementation: %v", err)
		}
	})
	r := newRig(t)
	wire, _ := dial(t, r.listen(t))
	for name, c := range map[string]*Conn{"in process": r.server.Conn(obs.User), "TCP": wire} {
		err := c.Invoke(soon(t), "/nova.user.v1.Users/Profiles", &authpb.KeysRequest{}, &authpb.KeysResponse{})
		if !fault.Is(err, fault.CodeInternal) || !strings.Contains(err.Error(), "Unimplemented") {
			t.Errorf("%s: a service that is not there: %v", name, err)
		}
	}
	if !strings.Contains(r.log.String(), `"op":"rpc.unknown"`) {
		t.Error("the unknown method over TCP was not logged")
	}
	if _, err := r.server.Conn(obs.Auth).NewStream(soon(t), &grpc.StreamDesc{}, "/x/y"); !fault.Is(err, fault.CodeInternal) {
		t.Errorf("a stream: %v", err)
	}
}

func TestLogLinesAvoidTheirWords(t *testing.T) {
	r := newRig(t)
	if _, err := authpb.NewAuthClient(r.server.Conn(obs.Auth)).Keys(soon(t), &authpb.KeysRequest{}); err != nil {
		t.Fatal(err)
	}
	l := r.log.String()
	if !strings.Contains(l, `"op":"auth.Verifiers"`) || strings.Contains(strings.ToLower(l), "key") {
		t.Errorf("log: %s", l)
	}
}
