package user

import (
	"context"
	"slices"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/user/userpb"
)

const maxAsk = 1000 // identifiers in one call

// Profiles gives those of the named users that exist.
func (s *Service) Profiles(ctx context.Context, in *userpb.ProfilesRequest) (*userpb.ProfilesResponse, error) {
	ids := slices.DeleteFunc(slices.Clone(in.GetIds()), func(s string) bool { return !id.Valid(s) })
	if len(ids) > maxAsk {
		return nil, fault.OnField(fault.CodeTooLong, "ids", "at most 1000")
	}
	found, err := s.profiles(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := &userpb.ProfilesResponse{}
	for _, p := range found {
		out.Profiles = append(out.Profiles, &userpb.Profile{Id: p.id, Username: p.username, DisplayName: p.displayName})
	}
	return out, nil
}
