package app

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/auth"
	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/media"
	"github.com/nova-chat/nova/internal/messaging"
	"github.com/nova-chat/nova/internal/notification"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/rpc"
	"github.com/nova-chat/nova/internal/user"
	"github.com/nova-chat/nova/internal/web"
)

// openCertificates reads what this process and the others know each other by.
func (a *App) openCertificates() (err error) {
	if a.cfg.RPCIdentity == "" {
		return nil
	}
	a.certs, err = certs.Open(a.obs, a.group, certs.Files{Identity: a.cfg.RPCIdentity, Trusted: a.cfg.RPCTrusted})
	return err
}

// conn gives the connection to a service, wherever it runs.
func (a *App) conn(s obs.Service) (grpc.ClientConnInterface, error) {
	if a.cfg.Local(s) {
		return a.calls.Conn(s), nil
	}
	return rpc.Dial(a.obs, a.group, s, a.cfg.RPC[s], rpc.DialConfig{Certificates: a.certs})
}

// outboxOf makes the outbox of a service that publishes events.
func (a *App) outboxOf(s obs.Service) *outbox.Outbox {
	ob := outbox.New(a.obs, a.group, a.dbs[s], outbox.Config{
		Service: s, Sinks: []outbox.Sink{{Name: "events", Publish: a.events.Publish}},
	})
	a.outboxes = append(a.outboxes, ob)
	return ob
}

func (a *App) makeServices() error {
	authConn, err := a.conn(obs.Auth)
	if err != nil {
		return fmt.Errorf("connection to auth: %w", err)
	}
	for _, make := range []struct {
		service obs.Service
		fn      func(grpc.ClientConnInterface) error
	}{
		{obs.Auth, a.makeAuth},
		{obs.User, a.makeUser},
		{obs.Messaging, a.makeMessaging},
		{obs.Notification, a.makeNotification},
		{obs.Media, a.makeMedia},
	} {
		if !a.cfg.Local(make.service) {
			continue
		}
		if err := make.fn(authConn); err != nil {
			return fmt.Errorf("%s: %w", make.service, err)
		}
	}
	return nil
}

func (a *App) makeAuth(grpc.ClientConnInterface) (err error) {
	l := a.cfg.Limits
	a.auth, err = auth.New(auth.Deps{
		Obs: a.obs, Group: a.group, DB: a.dbs[obs.Auth], Outbox: a.outboxOf(obs.Auth), Events: a.events,
		Seal: a.cfg.Seal, KeysDir: filepath.Join(a.cfg.DataDir, "keys"), Revocations: a.revocations, Tell: a.teller(), Peers: a.peers,
		Config: auth.Config{
			AccessLife: a.cfg.AccessTTL, RefreshIdle: a.cfg.RefreshTTL,
			LoginsPerAddress: rateOf(l.LoginsPerAddress), RegistrationsPerAddress: rateOf(l.RegistrationsPerAddress),
		},
	})
	if err == nil {
		a.auth.Register(a.calls.Registrar(obs.Auth))
	}
	return err
}

func (a *App) makeUser(authConn grpc.ClientConnInterface) (err error) {
	a.user, err = user.New(user.Deps{Obs: a.obs, DB: a.dbs[obs.User], Outbox: a.outboxOf(obs.User), Events: a.events, Auth: authConn})
	if err == nil {
		a.user.Register(a.calls.Registrar(obs.User))
	}
	return err
}

func (a *App) makeMessaging(authConn grpc.ClientConnInterface) (err error) {
	l := a.cfg.Limits
	a.messaging, err = messaging.New(messaging.Deps{
		Obs: a.obs, Group: a.group, DB: a.dbs[obs.Messaging], Fanout: a.fanout, Events: a.events,
		Auth: authConn, Verifier: a.verifier, Revocations: a.revocations,
		Limits: messaging.Limits{
			MessagesPerUser: rateOf(l.MessagesPerUser), MessagesPerConversation: rateOf(l.MessagesPerConversation),
			FramesPerSocket: rateOf(l.FramesPerSocket), SocketsPerUser: l.SocketsPerUser, Peers: a.peers, Told: toldLimits(l),
		},
		Origins: func(origin string, _ *http.Request) bool { return a.originAllowed(origin) },
	})
	return err
}

func (a *App) makeNotification(grpc.ClientConnInterface) (err error) {
	a.notification, err = notification.New(notification.Deps{Obs: a.obs, Group: a.group})
	return err
}

func (a *App) makeMedia(grpc.ClientConnInterface) (err error) {
	a.media, err = media.New(media.Deps{Obs: a.obs, Group: a.group})
	return err
}

func rateOf(r config.Rate) limit.Rate {
	return limit.Rate{PerSecond: r.PerSecond(), Burst: r.Burst}
}

// toldLimits are the limits as clients see them in welcome.
func toldLimits(l config.Limits) map[string]any {
	told := map[string]any{"sockets_per_user": l.SocketsPerUser, "frame_bytes": 64 << 10, "body_bytes": 16 << 10}
	for name, r := range map[string]config.Rate{
		"messages_per_user": l.MessagesPerUser, "messages_per_conversation": l.MessagesPerConversation,
		"requests_per_user": l.RequestsPerUser, "frames_per_socket": l.FramesPerSocket,
		"connects_per_address": l.ConnectsPerAddress, "registrations_per_address": l.RegistrationsPerAddress, "logins_per_address": l.LoginsPerAddress,
	} {
		told[name] = map[string]any{"count": r.Count, "per_seconds": r.Per.Seconds(), "burst": r.Burst}
	}
	return told
}

// routes registers the routes of the local services; all of them on an App that
// only makes documents.
func (a *App) routes(r *web.Router, local func(obs.Service) bool) {
	if local(obs.Auth) {
		auth.Routes(r, a.auth)
	}
	if local(obs.User) {
		user.Routes(r, a.user)
	}
	if local(obs.Messaging) {
		messaging.Routes(r, a.messaging, a.peers.New(a.obs, obs.LimitConnectsPerAddress, rateOf(a.cfg.Limits.ConnectsPerAddress)))
	}
	if local(obs.Notification) {
		notification.Routes(r, a.notification)
	}
	if local(obs.Media) {
		media.Routes(r, a.media)
	}
}

// Start migrates, starts the services, and serves. It returns when the process
// accepts traffic.
func (a *App) Start(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return fmt.Errorf("start: %w", named(err))
	}
	a.ready.set("")
	return nil
}

func (a *App) start(ctx context.Context) error {
	for _, ob := range a.outboxes {
		if err := a.withDatabase(ctx, ob.Migrate); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	}
	for _, s := range a.services() {
		if err := a.withDatabase(ctx, s.start); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if a.cfg.ListenGRPC != "" {
		if _, err := a.calls.Listen(ctx, a.cfg.ListenGRPC, rpc.ListenConfig{Certificates: a.certs}); err != nil {
			return bound("listen_grpc", err)
		}
	}
	a.group.Worker("app.stores", time.Second, a.watchStores)
	if a.peers != nil {
		a.group.Worker("app.limits", time.Second, a.peers.Run)
	}
	a.group.Worker("app.memory", time.Second, a.tidyMemory)
	if err := a.listenPublic(ctx); err != nil {
		return err
	}
	a.steps()
	a.public.Start()
	return nil
}

// withDatabase begins something again while a database that is a server does not
// answer, which may go away at any moment. What is wrong with a file stays so.
func (a *App) withDatabase(ctx context.Context, begin func(context.Context) error) error {
	if !a.cfg.Shared() {
		return begin(ctx)
	}
	return a.patiently(ctx, "the database", "database", func() error { return begin(ctx) })
}

// starter is something that is started, and again if it failed for want of a
// database.
type starter struct {
	name  string
	start func(context.Context) error
}

// services lists what is started, in this order: whoever is asked comes before
// whoever asks.
func (a *App) services() []starter {
	var all []starter
	if a.auth != nil {
		all = append(all, starter{"auth", a.auth.Start})
	}
	all = append(all, starter{"identities", a.startIdentities})
	if a.user != nil {
		all = append(all, starter{"user", a.user.Start})
	}
	for _, ob := range a.outboxes { // after those who consume their events
		all = append(all, starter{"outbox", ob.Start})
	}
	if a.messaging != nil {
		all = append(all, starter{"messaging", a.messaging.Start})
	}
	if a.notification != nil {
		all = append(all, starter{"notification", a.notification.Start})
	}
	if a.media != nil {
		all = append(all, starter{"media", a.media.Start})
	}
	return all
}

const (
	// drainStep is the time for waiting for the balancer and for the clients.
	drainStep = 10 * time.Second
	// relaysStep is the time for the relays: if the process that relayed was killed
	// just before, nobody relays for up to four seconds, and then there is as much
	// to catch up with.
	relaysStep = 10 * time.Second
)
