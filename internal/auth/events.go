package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/sqldb"
)

const (
	eventRegistered = "user.registered" // an account exists from now on
	eventRenamed    = "user.renamed"    // the user service's: a display name has changed
)

// timeLayout is how the protocol writes times.
const timeLayout = "2006-01-02T15:04:05.000Z"

func stamp(t time.Time) string { return t.UTC().Format(timeLayout) }

func registered(a account) (bus.Envelope, error) {
	payload, err := json.Marshal(struct {
		UserID      string `json:"user_id"`
		Username    string `json:"username"`
		DisplayName string `json:"display_name"`
		CreatedAt   string `json:"created_at"`
	}{a.id, a.username, a.displayName, stamp(a.created)})
	if err != nil {
		return bus.Envelope{}, fmt.Errorf("%s: %w", eventRegistered, err)
	}
	return bus.Envelope{Type: eventRegistered, Key: a.id, Payload: payload}, nil
}

// onRenamed keeps the display name that a login answers with in step with the
// profile.
func (s *Service) onRenamed(ctx context.Context, e bus.Envelope) error {
	var in struct {
		UserID      string `json:"user_id"`
		DisplayName string `json:"display_name"`
	}
	if err := json.Unmarshal(e.Payload, &in); err != nil || in.UserID == "" || in.DisplayName == "" {
		return fault.Wrap(fault.CodeBadRequest, err, "the event cannot be read")
	}
	return s.deps.DB.Write(ctx, "auth.renamed", func(ctx context.Context, tx *sqldb.Tx) error {
		first, err := outbox.Once(ctx, tx, obs.QueueAuthEvents, e.ID)
		if err != nil || !first {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE accounts SET display_name = $1 WHERE id = $2`, in.DisplayName, in.UserID)
		return err
	})
}
