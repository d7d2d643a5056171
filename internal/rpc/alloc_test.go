package rpc

import (
	"context"
	"testing"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/obs"
)

// maxAllocs is the budget of one call in one process, with everything on.
const maxAllocs = 40

func allocRig(t testing.TB) (context.Context, authpb.AuthClient) {
	r := newRig(t)
	r.auth.accounts = func(context.Context, *authpb.AccountsRequest) (*authpb.AccountsResponse, error) {
		return &authpb.AccountsResponse{Accounts: []*authpb.Account{{Id: "A", Username: "alice"}}}, nil
	}
	return obs.WithCorrelation(context.Background(), "test-123"), authpb.NewAuthClient(r.server.Conn(obs.Auth))
}

func TestCallInProcessCostsFewAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx, client := allocRig(t)
	got := testing.AllocsPerRun(2000, func() {
		if _, err := client.Accounts(ctx, &authpb.AccountsRequest{Ids: []string{"A"}}); err != nil {
			t.Fatal(err)
		}
	})
	if got > maxAllocs {
		t.Errorf("%.0f allocations a call, at most %d are allowed", got, maxAllocs)
	}
	t.Logf("%.0f allocations a call", got)
}

func BenchmarkCallInProcess(b *testing.B) {
	ctx, client := allocRig(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Accounts(ctx, &authpb.AccountsRequest{Ids: []string{"A"}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCallTCP(b *testing.B) {
	r := newRig(b)
	r.answer(func(context.Context, *authpb.AccountsRequest) error { return nil })
	c, _ := dial(b, r.listen(b))
	client, ctx := authpb.NewAuthClient(c), obs.WithCorrelation(context.Background(), "test-123")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Accounts(ctx, &authpb.AccountsRequest{Ids: []string{"A"}}); err != nil {
			b.Fatal(err)
		}
	}
}
