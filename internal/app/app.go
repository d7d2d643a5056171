package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/auth"
	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/media"
	"github.com/nova-chat/nova/internal/messaging"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/notification"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/rpc"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/user"
	"github.com/nova-chat/nova/internal/web"
)

// Options is what a process is made from.
type Options struct {
	Config config.Config
	Log    io.Writer // where log lines go; nil discards
	// WritesWaiting is how many writes of a database may wait; 0 = its default.
	WritesWaiting int
}

// App is one process of Nova.
type App struct {
	cfg   config.Config
	obs   *obs.Obs
	group *run.Group

	started time.Time
	ready   readiness
	stop    sync.Once
	passed  time.Time // when the stop step of the relays ended
	ledger  Ledger

	asked    chan struct{} // closed when the process is to stop: an operator asked, or a database is broken
	askOnce  sync.Once
	askCause error // why, if it is a failure; read after asked is closed

	fanout      bus.Fanout
	control     *bus.Redis // by which processes tell each other what is not in messaging's log; nil = this one is alone
	events      bus.Events
	peers       *limit.Peers    // with which limits are shared; nil = this process is alone
	degraded    []func() string // each says what is away, "" if nothing is
	certs       *certs.Source   // for calls between processes; nil = no TLS
	calls       *rpc.Server
	verifier    *token.Verifier
	keys        *token.Keys
	revocations *token.Revocations
	hearing     hearing
	dbs         map[obs.Service]*sqldb.DB
	outboxes    []*outbox.Outbox // but messaging's, which it has itself

	auth         *auth.Service
	user         *user.Service
	messaging    *messaging.Service
	notification *notification.Service
	media        *media.Service

	public, admin *web.Listener
	originAllowed func(origin string) bool
}

// New wires a process: it opens what the process needs, but serves nothing yet
// beside the operator's listener. Call Stop also when New or Start has failed; New does so
// itself when it fails.
func New(ctx context.Context, opt Options) (*App, error) {
	o, err := obs.New(obs.Config{Level: opt.Config.LogLevel, Out: opt.Log, Dir: opt.Config.LogDir, Services: opt.Config.Services})
	if err != nil {
		return nil, err
	}
	a := &App{
		cfg: opt.Config, obs: o, group: run.New(o), started: time.Now(), asked: make(chan struct{}),
		dbs: map[obs.Service]*sqldb.DB{}, keys: token.NewKeys(), revocations: token.NewRevocations(),
	}
	if mutant.Name != "" {
		o.Log(obs.Process).LogAttrs(ctx, slog.LevelWarn, "this build is a mutant: it is broken on purpose", slog.String("mutant", mutant.Name))
	}
	a.ready.set("starting")
	a.degraded = append(a.degraded, a.authAway, a.deaf)
	o.Metrics.Ready.Pull(a.ready.value)
	if err := a.wire(ctx, opt); err != nil {
		return nil, errors.Join(named(err), a.abandon())
	}
	return a, nil
}

// abandon undoes a failed New or Start without a ledger.
func (a *App) abandon() error {
	report := a.group.Stop(context.Background())
	return errors.Join(report.Err(), a.obs.Close())
}

// wire is one straight function on purpose: what depends on what is the order
// of its lines, and the reverse of it is the order in which they stop.
func (a *App) wire(ctx context.Context, opt Options) error {
	if err := a.openFolder(); err != nil {
		return err
	}
	if err := a.listenAdmin(ctx); err != nil {
		return err
	}
	a.admin.Start()
	a.group.OnStop(obs.PhaseStores.String(), time.Second, a.storesClosed)
	if err := a.openStores(ctx, opt.WritesWaiting); err != nil {
		return err
	}
	if err := a.claimNode(ctx); err != nil {
		return err
	}
	if err := a.openBus(ctx); err != nil {
		return err
	}
	if err := a.openCertificates(); err != nil {
		return err
	}
	a.calls = rpc.NewServer(a.obs, a.group)
	a.verifier = token.NewVerifier(a.obs, a.keys, a.revocations)
	return a.makeServices()
}

// openFolder makes the data folder and keeps a second server out of it.
func (a *App) openFolder() error {
	lock, err := sqldb.LockFolder(a.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	a.group.OnStop("data folder", time.Second, func(context.Context) error { return lock.Close() })
	return nil
}

// PublicURL is where clients reach the process once Start has returned.
func (a *App) PublicURL() string { return "http://" + a.public.Addr().String() }

// AdminURL is where operators reach it.
func (a *App) AdminURL() string { return "http://" + a.admin.Addr().String() }

// Done is closed when the process is to stop, because an operator has asked for
// it over the admin listener or because a database cannot be written any more.
// Whoever runs the App then calls Stop.
func (a *App) Done() <-chan struct{} { return a.asked }

// ask closes Done, once; cause is the failure behind it, if it is one.
func (a *App) ask(cause error) {
	a.askOnce.Do(func() {
		a.askCause = cause
		close(a.asked)
	})
}

// Obs is the process's own observability, for tests.
func (a *App) Obs() *obs.Obs { return a.obs }
