package notification

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// Deps is what the service stands on.
type Deps struct {
	Obs   *obs.Obs
	Group *run.Group
}

// Service is the notification service. Make one with [New], then call Start once.
type Service struct{ deps Deps }

// New makes the service.
func New(d Deps) (*Service, error) {
	if d.Obs == nil || d.Group == nil {
		return nil, errors.New("notification: Obs and Group are needed")
	}
	return &Service{deps: d}, nil
}

// Register offers the service to the other services: it has nothing to offer yet.
func (s *Service) Register(grpc.ServiceRegistrar) {}

// Start adds the service's stop step and says in the log that it runs, and that
// it does nothing yet.
func (s *Service) Start(ctx context.Context) error {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation()) // one cause: the start
	log := s.deps.Obs.Log(obs.Notification)
	s.deps.Group.OnStop("notification", time.Second, func(context.Context) error {
		log.LogAttrs(ctx, slog.LevelInfo, "service stopped", slog.String("op", "notification.stop"))
		return nil
	})
	log.LogAttrs(ctx, slog.LevelInfo, "service started; it has no routes yet", slog.String("op", "notification.start"))
	return nil
}
