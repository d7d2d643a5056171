package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/rpc"
)

// startIdentities makes this process able to judge identities by itself: it
// gets auth's public keys and the revocations so far, and then follows the
// revocation log. It is the same whether auth runs here or elsewhere.
func (a *App) startIdentities(ctx context.Context) error {
	conn, err := a.conn(obs.Auth)
	if err != nil {
		return err
	}
	client := authpb.NewAuthClient(conn)
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	keys, err := client.Keys(ctx, &authpb.KeysRequest{})
	if err != nil {
		return fmt.Errorf("public keys: %w", err)
	}
	if err := a.keys.SetJWKS(keys.GetJwks()); err != nil {
		return fmt.Errorf("public keys: %w", err)
	}
	after, err := a.allRevocations(ctx, client)
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	a.group.Worker("app.revocations", 2*time.Second, func(ctx context.Context) { a.followRevocations(ctx, client, after) })
	return nil
}

// allRevocations takes what there is; one call gives a bounded number.
func (a *App) allRevocations(ctx context.Context, client authpb.AuthClient) (after int64, err error) {
	for {
		last, err := a.takeRevocations(ctx, client, after, 0)
		if err != nil || last == after {
			return after, err
		}
		after = last
	}
}

// revocationWait is how long one call waits for news.
const revocationWait = 20 * time.Second

func (a *App) followRevocations(ctx context.Context, client authpb.AuthClient, after int64) {
	var backoff bus.Backoff
	for ctx.Err() == nil {
		cause := obs.WithCorrelation(ctx, obs.NewCorrelation())
		last, err := a.takeRevocations(cause, client, after, revocationWait)
		if err == nil {
			after = last
			backoff.Reset()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		a.obs.Log(obs.Process).LogAttrs(cause, slog.LevelWarn, "revocations cannot be followed", obs.Cause(err))
		backoff.Wait(ctx, nil)
	}
}

func (a *App) takeRevocations(ctx context.Context, client authpb.AuthClient, after int64, wait time.Duration) (last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait+5*time.Second)
	defer cancel()
	res, err := client.Revocations(ctx, &authpb.RevocationsRequest{After: after, WaitMs: wait.Milliseconds()}, rpc.LongPoll())
	if err != nil {
		return after, err
	}
	for _, r := range res.GetItems() {
		a.revocations.Revoke(r.GetSessionId(), time.UnixMilli(r.GetUntilMs()))
	}
	return max(after, res.GetLast()), nil
}
