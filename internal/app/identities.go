package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
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
	err = a.patiently(ctx, "auth", "rpc", func() error {
		if err := a.takeVerifiers(ctx, client); err != nil {
			return fmt.Errorf("public keys: %w", err)
		}
		if after, err = a.allRevocations(ctx, client); err != nil {
			return fmt.Errorf("revocations: %w", err)
		}
		a.heardLog(ctx, nil)
		return nil
	})
	if err != nil {
		return err
	}
	a.group.Worker("app.verifiers", time.Second, func(ctx context.Context) { a.followVerifiers(ctx, client) })
	if mutant.RevokeOneNode {
		return nil
	}
	a.group.Worker("app.revocations", 2*time.Second, func(ctx context.Context) { a.followRevocations(ctx, client, after) })
	a.group.Worker("app.hearing", time.Second, a.watchHearing)
	return nil
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
