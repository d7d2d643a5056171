package user

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/sqldb"
)

const (
	eventRegistered = "user.registered" // auth's: an account exists from now on
	eventRenamed    = "user.renamed"    // a display name has changed
)

func renamed(p profile) (bus.Envelope, error) {
	payload, err := json.Marshal(struct {
		UserID      string `json:"user_id"`
		DisplayName string `json:"display_name"`
	}{p.id, p.displayName})
	if err != nil {
		return bus.Envelope{}, fmt.Errorf("%s: %w", eventRenamed, err)
	}
	return bus.Envelope{Type: eventRenamed, Key: p.id, Payload: payload}, nil
}

// onRegistered makes the profile of a new account, once.
func (s *Service) onRegistered(ctx context.Context, e bus.Envelope) error {
	p, err := readRegistered(e.Payload)
	if err != nil {
		return err
	}
	first := false
	err = s.deps.DB.Write(ctx, "user.registered", func(ctx context.Context, tx *sqldb.Tx) error {
		if first, err = outbox.Once(ctx, tx, obs.QueueUserEvents, e.ID); err != nil || !first {
			return err
		}
		return insertProfiles(ctx, tx, []profile{p})
	})
	if err == nil && first && s.deps.Obs.Sample(obs.SiteEvent) {
		s.deps.Obs.Log(obs.User).LogAttrs(ctx, slog.LevelInfo, "profile made", slog.String("op", "user.registered"), slog.String("user_id", p.id))
	}
	return err
}

func readRegistered(payload []byte) (profile, error) {
	var in struct {
		UserID      string    `json:"user_id"`
		Username    string    `json:"username"`
		DisplayName string    `json:"display_name"`
		CreatedAt   time.Time `json:"created_at"`
	}
	if err := json.Unmarshal(payload, &in); err != nil {
		return profile{}, fault.Wrap(fault.CodeBadRequest, err, "the event cannot be read")
	}
	if !id.Valid(in.UserID) || in.Username == "" {
		return profile{}, fault.New(fault.CodeBadRequest, "the event names nobody")
	}
	return profile{in.UserID, in.Username, in.DisplayName, in.CreatedAt}, nil
}
