package user

import (
	"context"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/sqldb"
)

const maxDisplayName = 64 // runes

// profile is how somebody presents themselves.
type profile struct {
	id, username, displayName string
	created                   time.Time
}

// get gives one profile; somebody unknown is not_found.
func (s *Service) get(ctx context.Context, userID string) (profile, error) {
	if !id.Valid(userID) {
		return profile{}, fault.BadID("id")
	}
	found, err := s.profiles(ctx, []string{userID})
	if err != nil {
		return profile{}, err
	}
	if len(found) == 0 {
		return profile{}, fault.New(fault.CodeNotFound, "")
	}
	return found[0], nil
}

// profiles gives those of the users that exist, in no order: from the cache,
// else the store, else by auth's word, which the store then keeps.
func (s *Service) profiles(ctx context.Context, ids []string) ([]profile, error) {
	found, missing, mark := s.cache.get(ids)
	if len(missing) == 0 {
		return found, nil
	}
	stored, err := s.stored(ctx, missing)
	if err != nil {
		return nil, err
	}
	for _, p := range stored {
		delete(missing, p.id)
	}
	made, err := s.firstRead(ctx, missing)
	if err != nil {
		return nil, err
	}
	fresh := append(stored, made...)
	s.cache.put(fresh, mark)
	return append(found, fresh...), nil
}

func (s *Service) stored(ctx context.Context, ids map[string]bool) (found []profile, err error) {
	err = s.deps.DB.Read(ctx, "user.get", func(ctx context.Context, tx *sqldb.Tx) error {
		found, err = profilesByID(ctx, tx, ids)
		return err
	})
	return found, err
}

// firstRead makes the profiles of accounts whose event is still under way.
func (s *Service) firstRead(ctx context.Context, ids map[string]bool) ([]profile, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	ask := &authpb.AccountsRequest{}
	for one := range ids {
		ask.Ids = append(ask.Ids, one)
	}
	answer, err := s.auth.Accounts(ctx, ask)
	if err != nil {
		return nil, err
	}
	var made []profile
	for _, a := range answer.GetAccounts() {
		made = append(made, profile{a.GetId(), a.GetUsername(), a.GetDisplayName(), time.UnixMilli(a.GetCreatedMs())})
	}
	if len(made) == 0 {
		return nil, nil
	}
	var kept []profile
	err = s.deps.DB.Write(ctx, "user.first_read", func(ctx context.Context, tx *sqldb.Tx) error {
		if err := insertProfiles(ctx, tx, made); err != nil {
			return err
		}
		kept, err = profilesByID(ctx, tx, ids) // what was there already holds
		return err
	})
	return kept, err
}

// rename changes the caller's display name.
func (s *Service) rename(ctx context.Context, userID, displayName string) (profile, error) {
	if err := checkDisplayName(displayName); err != nil {
		return profile{}, err
	}
	p, err := s.get(ctx, userID) // so that there is a row to change
	if err != nil {
		return profile{}, err
	}
	p.displayName = displayName
	event, err := renamed(p)
	if err != nil {
		return profile{}, err
	}
	err = s.deps.DB.Write(ctx, "user.rename", func(ctx context.Context, tx *sqldb.Tx) error {
		if err := updateDisplayName(ctx, tx, p); err != nil || s.deps.Outbox == nil {
			return err
		}
		return s.deps.Outbox.Emit(ctx, tx, event)
	})
	s.cache.drop(userID) // also when the outcome is unknown
	return p, err
}

// checkDisplayName wants something that can be seen and cannot reorder or break
// the line it is shown in.
func checkDisplayName(name string) error {
	visible := false
	for _, r := range name {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return fault.OnField(fault.CodeInvalid, "display_name", "no control characters")
		}
		visible = visible || unicode.IsGraphic(r) && !unicode.IsSpace(r)
	}
	if utf8.RuneCountInString(name) > maxDisplayName {
		return fault.OnField(fault.CodeTooLong, "display_name", "at most 64 characters")
	}
	if !visible || !utf8.ValidString(name) {
		return fault.OnField(fault.CodeInvalid, "display_name", "1 to 64 characters, one of them visible")
	}
	return nil
}
