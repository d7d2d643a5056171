package messaging

import (
	"context"
	"slices"

	"github.com/maypok86/otter/v2"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// accounts remembers which accounts exist. That is auth's word; only a yes is
// remembered, so a new account is known at once.
type accounts struct {
	obs   *obs.Obs
	auth  authpb.AuthClient
	cache *otter.Cache[string, struct{}]
}

const (
	maxAccounts  = 100_000
	accountsPage = 500 // ids per call
)

func newAccounts(o *obs.Obs, auth authpb.AuthClient) (*accounts, error) {
	cache, err := otter.New(&otter.Options[string, struct{}]{MaximumSize: maxAccounts})
	return &accounts{o, auth, cache}, err
}

// check refuses a list that names somebody who does not exist.
func (a *accounts) check(ctx context.Context, ids []string) error {
	var ask []string
	for _, id := range ids {
		if _, ok := a.cache.GetIfPresent(id); ok {
			a.obs.Metrics.CacheRequests.Inc(obs.CacheAccounts, obs.CacheHit)
			continue
		}
		a.obs.Metrics.CacheRequests.Inc(obs.CacheAccounts, obs.CacheMiss)
		ask = append(ask, id)
	}
	for page := range slices.Chunk(ask, accountsPage) {
		res, err := a.auth.Accounts(ctx, &authpb.AccountsRequest{Ids: page})
		if err != nil {
			return err
		}
		for _, acc := range res.GetAccounts() {
			a.cache.Set(acc.GetId(), struct{}{})
		}
		if len(res.GetAccounts()) < len(page) {
			return fault.OnField(fault.CodeNotFound, "member_ids", "names a user who does not exist")
		}
	}
	return nil
}
