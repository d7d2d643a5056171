package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/rpc"
)

// startIdentities makes this process able to judge identities by itself: it
// gets auth's public keys and the revocations so far, and then follows both. It
// is the same whether auth runs here or elsewhere.
func (a *App) startIdentities(ctx context.Context) error {
	conn, err := a.conn(obs.Auth)
	if err != nil {
		return err
	}
	client := authpb.NewAuthClient(conn)
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	var after int64
	err = a.patiently(ctx, "auth", func() error {
		if err := a.takeVerifiers(ctx, client); err != nil {
			return fmt.Errorf("public keys: %w", err)
		}
		if after, err = a.allRevocations(ctx, client); err != nil {
			return fmt.Errorf("revocations: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.group.Worker("app.verifiers", time.Second, func(ctx context.Context) { a.followVerifiers(ctx, client) })
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

// revocationWait is how long one call waits for news. It is short, since a server
// that is gone without a word is noticed only when the call is over.
const revocationWait = 5 * time.Second

// revocationRest is how long a follower rests after a call that failed. It is
// short, since what ends meanwhile elsewhere goes on here.
const revocationRest = 500 * time.Millisecond

func (a *App) followRevocations(ctx context.Context, client authpb.AuthClient, after int64) {
	for ctx.Err() == nil {
		cause := obs.WithCorrelation(ctx, obs.NewCorrelation())
		last, err := a.takeRevocations(cause, client, after, revocationWait)
		if err == nil {
			after = last
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if a.revocations.Silence() == 0 {
			a.obs.Log(obs.Process).LogAttrs(cause, slog.LevelWarn, "revocations cannot be followed", obs.Cause(err))
		}
		a.revocations.Unheard()
		_ = wait(ctx, revocationRest) // the loop sees that ctx ended
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
	a.revocations.Heard()
	return res.GetLast(), nil // lower than before only if the database went back
}

const (
	verifiersEvery = time.Minute     // a new one is published long before it signs
	verifiersRest  = 5 * time.Second // between two calls, whatever callers make up
)

// followVerifiers keeps the public keys in step with auth: now and then, and soon
// after a proof has named one that is unknown here.
func (a *App) followVerifiers(ctx context.Context, client authpb.AuthClient) {
	tick := time.NewTimer(verifiersEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-a.keys.Wanted():
		case <-ctx.Done():
			return
		}
		cause := obs.WithCorrelation(ctx, obs.NewCorrelation())
		if err := a.takeVerifiers(cause, client); err != nil && ctx.Err() == nil {
			a.obs.Log(obs.Process).LogAttrs(cause, slog.LevelWarn, "what verifies identities stays as it was: auth cannot be asked", obs.Cause(err))
		}
		_ = wait(ctx, verifiersRest) // likewise
		tick.Reset(verifiersEvery)
	}
}

// takeVerifiers replaces the set only by another one: what was verified with it
// would have to be verified again.
func (a *App) takeVerifiers(ctx context.Context, client authpb.AuthClient) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := client.Keys(ctx, &authpb.KeysRequest{})
	if err != nil || bytes.Equal(res.GetJwks(), a.keys.JWKS()) {
		return err
	}
	return a.keys.SetJWKS(res.GetJwks())
}
