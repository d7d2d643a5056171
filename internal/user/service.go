package user

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/user/userpb"
)

// Deps is what the service stands on.
type Deps struct {
	Obs    *obs.Obs
	DB     *sqldb.DB
	Outbox *outbox.Outbox           // of this database; nil: renames are not published
	Events bus.Events               // nil where nothing is consumed
	Auth   grpc.ClientConnInterface // a connection to auth
}

// Service is the user service. Make one with [New], then call Start once before
// it is asked anything.
type Service struct {
	userpb.UnimplementedUsersServer

	deps  Deps
	auth  authpb.AuthClient
	cache *cache
}

// New makes the service. It does not touch the database.
func New(d Deps) (*Service, error) {
	if d.Obs == nil || d.DB == nil || d.Auth == nil {
		return nil, errors.New("user: Obs, DB and Auth are needed")
	}
	return &Service{deps: d, auth: authpb.NewAuthClient(d.Auth), cache: newCache(d.Obs)}, nil
}

// Register offers the service to the other services.
func (s *Service) Register(reg grpc.ServiceRegistrar) { userpb.RegisterUsersServer(reg, s) }

// Start brings the schema up to date and begins to consume events.
func (s *Service) Start(ctx context.Context) error {
	if err := migrate(ctx, s.deps.DB); err != nil {
		return err
	}
	if s.deps.Events != nil {
		s.deps.Events.Consume(obs.QueueUserEvents, []string{eventRegistered}, s.onRegistered)
	}
	return nil
}

func migrate(ctx context.Context, db *sqldb.DB) error {
	if err := db.Migrate(ctx, "user", Migrations()); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	return nil
}
