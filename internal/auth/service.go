package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
)

// Service is the auth service. Make one with [New], then call Start once before
// it is asked anything.
type Service struct {
	authpb.UnimplementedAuthServer

	deps          Deps
	cfg           Config
	metrics       *obs.Metrics
	hasher        *hasher
	logins        *limit.Limiter
	registrations *limit.Limiter
	news          *bell

	shared  bool // other processes write to the database too
	others  lookout
	box     *seal // set by Start, read-only afterwards
	keys    atomic.Pointer[keyring]
	reading sync.Mutex // held by who reads the rows for somebody who asked
}

// New makes the service. It touches neither the database nor the disk.
func New(d Deps) (*Service, error) {
	if d.Obs == nil || d.Group == nil || d.DB == nil || d.KeysDir == "" {
		return nil, errors.New("auth: Obs, Group, DB and KeysDir are needed")
	}
	cfg := d.Config.withDefaults()
	s := &Service{
		deps: d, cfg: cfg, metrics: d.Obs.Metrics,
		hasher:        newHasher(cfg.Hashing),
		logins:        d.Peers.New(d.Obs, obs.LimitLoginsPerAddress, cfg.LoginsPerAddress),
		registrations: d.Peers.New(d.Obs, obs.LimitRegistrationsPerAddress, cfg.RegistrationsPerAddress),
		news:          newBell(),
		shared:        d.DB.Shared(),
	}
	s.metrics.HashingInFlight.Pull(s.hasher.inFlight)
	return s, nil
}

// Register offers the service to the other services.
func (s *Service) Register(reg grpc.ServiceRegistrar) { authpb.RegisterAuthServer(reg, s) }

// Start brings the schema up to date, opens or makes the keys, and begins to
// prune what is past with the commits that happen anyway.
func (s *Service) Start(ctx context.Context) error {
	if err := s.deps.DB.Migrate(ctx, "auth", Migrations()); err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	if err := s.openKeys(ctx); err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	s.deps.DB.Ride(pruneEvery, s.prune)
	s.deps.Group.Worker("auth signers", time.Second, s.tend)
	if s.deps.Events != nil {
		s.deps.Events.Consume(obs.QueueAuthEvents, []string{eventRenamed}, s.onRenamed)
	}
	s.deps.Group.OnStop("auth long polls", time.Second, func(context.Context) error {
		s.news.stop()
		return nil
	})
	return nil
}

// JWKS is the set of public keys that verifies what this service signs.
func (s *Service) JWKS() []byte { return s.ring().jwks }

// bell wakes everybody who waits. The zero value does not work: use newBell.
type bell struct {
	mu      sync.Mutex // guards what follows
	rung    chan struct{}
	stopped bool
}

func newBell() *bell { return &bell{rung: make(chan struct{})} }

// wait gives the channel that closes at the next ring, and whether there will
// be one at all.
func (b *bell) wait() (rung <-chan struct{}, alive bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rung, !b.stopped
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped {
		close(b.rung)
		b.rung = make(chan struct{})
	}
}

func (b *bell) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped {
		b.stopped = true
		close(b.rung)
	}
}
