package auth

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// Keys gives the public keys that verify what auth signs, on whichever node.
func (s *Service) Keys(ctx context.Context, _ *authpb.KeysRequest) (*authpb.KeysResponse, error) {
	jwks, err := s.freshKeys(ctx)
	if err != nil {
		return nil, err
	}
	return &authpb.KeysResponse{Jwks: jwks}, nil
}

// Accounts gives those of the named accounts that exist.
func (s *Service) Accounts(ctx context.Context, in *authpb.AccountsRequest) (*authpb.AccountsResponse, error) {
	ids := slices.Clone(in.GetIds())
	slices.Sort(ids)
	ids = slices.DeleteFunc(slices.Compact(ids), func(s string) bool { return !id.Valid(s) })
	if len(ids) > maxAccountsAsk {
		return nil, fault.OnField(fault.CodeTooLong, "ids", "at most 1000")
	}
	out := &authpb.AccountsResponse{}
	if len(ids) == 0 {
		return out, nil
	}
	args := make([]any, len(ids))
	for i, one := range ids {
		args[i] = one
	}
	err := s.deps.DB.Read(ctx, "auth.accounts", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		rows, err := tx.Query(ctx, `SELECT a.id, a.username, a.display_name, a.created_ms FROM accounts a WHERE a.id IN `+sqldb.In(len(args), 1), args...)
		out.Accounts, err = collect(rows, err, func(rows *sqldb.Rows) (*authpb.Account, error) {
			a := &authpb.Account{}
			return a, rows.Scan(&a.Id, &a.Username, &a.DisplayName, &a.CreatedMs)
		})
		return err
	})
	return out, err
}

// RedeemTicket takes a ticket and says whose it is. The second time, or later
// than the ticket's life, it is unknown.
func (s *Service) RedeemTicket(ctx context.Context, in *authpb.RedeemTicketRequest) (*authpb.RedeemTicketResponse, error) {
	x, ok, err := s.redeem(ctx, obs.NewSecret(in.GetTicket()))
	if err != nil {
		return nil, err
	}
	if !ok {
		s.metrics.IdentityRefusals.Inc(obs.TicketUnknown)
		if s.deps.Obs.Sample(obs.SiteIdentity) {
			s.deps.Obs.Log(obs.Auth).LogAttrs(ctx, slog.LevelInfo, "ticket refused", slog.String("op", "auth.redeem"), obs.Reason(obs.TicketUnknown))
		}
		return nil, fault.New(fault.CodeUnauthenticated, "the ticket was used, is old, or was never given out")
	}
	return &authpb.RedeemTicketResponse{
		UserId: x.account, SessionId: x.id, DeviceId: x.device, ExpiresMs: s.over(x).UnixMilli(),
	}, nil
}

// CheckSession says whether a session lives.
func (s *Service) CheckSession(ctx context.Context, in *authpb.CheckSessionRequest) (*authpb.CheckSessionResponse, error) {
	out := &authpb.CheckSessionResponse{}
	err := s.deps.DB.Read(ctx, "auth.check_session", func(ctx context.Context, tx *sqldb.Tx) error {
		x, ok, err := sessionByID(ctx, tx, in.GetSessionId())
		out.Live = ok && s.live(x, time.Now())
		return err
	})
	return out, err
}
