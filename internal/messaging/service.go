package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/web"
	"github.com/nova-chat/nova/internal/ws"
)

// Deps is what the service stands on.
type Deps struct {
	Obs         *obs.Obs
	Group       *run.Group
	DB          *sqldb.DB
	Fanout      bus.Fanout
	Events      bus.Events
	Auth        grpc.ClientConnInterface
	Verifier    *token.Verifier
	Revocations *token.Revocations
	Limits      Limits
	Origins     func(origin string, r *http.Request) bool // which pages may open sockets
}

// Limits are the rate limits that this service keeps.
type Limits struct {
	MessagesPerUser, MessagesPerConversation, FramesPerSocket limit.Rate
	SocketsPerUser                                            int
	Peers                                                     *limit.Peers   // with which they are shared; nil = this process is alone
	Told                                                      map[string]any // all limits in force, for welcome
}

// Service is the messaging service of one node.
type Service struct {
	obs         *obs.Obs
	log         *slog.Logger
	group       *run.Group
	db          *sqldb.DB
	fanout      bus.Fanout
	outbox      *outbox.Outbox
	auth        authpb.AuthClient
	verifier    *token.Verifier
	revocations *token.Revocations

	sockets    *ws.Server
	appends    *sqldb.Batch[*post, outcome]
	ends       ends
	args       []any     // of inserts, reused; the batch writer's alone
	lookUntil  time.Time // until then batches look for repeats at once; the batch writer's alone
	rooms      *rooms
	accounts   *accounts
	hub        *hub
	marks      *marks
	openings   openings
	origins    origins
	ledger     ledger
	ids        *ids // set by Start
	epoch      string
	told       atomic.Pointer[string] // the epoch, once it is known
	subscribed sync.Once              // the hub hears other nodes

	perUser, perConversation *limit.Limiter
	socketsPerUser           int
	limits                   map[string]any
	draining                 atomic.Bool
}

// New makes the service; nothing runs before Start.
func New(d Deps) (*Service, error) {
	s := &Service{
		obs: d.Obs, log: d.Obs.Log(obs.Messaging), group: d.Group, db: d.DB, fanout: d.Fanout,
		auth: authpb.NewAuthClient(d.Auth), verifier: d.Verifier, revocations: d.Revocations,
		perUser:         d.Limits.Peers.New(d.Obs, obs.LimitMessagesPerUser, d.Limits.MessagesPerUser),
		perConversation: d.Limits.Peers.New(d.Obs, obs.LimitMessagesPerConversation, d.Limits.MessagesPerConversation),
		socketsPerUser:  d.Limits.SocketsPerUser, limits: d.Limits.Told,
	}
	s.ledger.metrics = d.Obs.Metrics
	var err error
	if s.rooms, err = newRooms(d.Obs, d.DB); err != nil {
		return nil, fmt.Errorf("room cache: %w", err)
	}
	if s.accounts, err = newAccounts(d.Obs, s.auth); err != nil {
		return nil, fmt.Errorf("account cache: %w", err)
	}
	s.hub, s.marks = newHub(s), newMarks(s)
	s.appends = sqldb.NewBatch(d.DB, "messaging.append", s.commit)
	s.outbox = outbox.New(d.Obs, d.Group, d.DB, outbox.Config{
		Service: obs.Messaging,
		Sinks:   []outbox.Sink{{Name: "events", Types: []string{typeMessage, typeCreated, typeChanged}, Publish: d.Events.Publish}},
		Follow:  s.hub.apply,
		Tell:    d.Fanout.Publish,
		Derived: &outbox.Derived{Types: []string{typeMessage}, Read: s.readLog},
	})
	s.sockets = ws.NewServer(d.Obs, d.Group, ws.Config{
		Subprotocol: "nova.v1", MaxMessage: 64 << 10, QueueFrames: queueFrames, QueueBytes: queueBytes,
		PingEvery: 20 * time.Second, PongWait: 10 * time.Second, WriteWait: 10 * time.Second,
		Origins: d.Origins, FramesPerSocket: d.Limits.FramesPerSocket, Accepted: web.AcceptedAt,
	})
	s.appends.Answered = s.sockets.Kick // once for all: answers and messages to a socket then go in one write
	return s, nil
}

// commit is appendBatch with its measurements.
func (s *Service) commit(ctx context.Context, tx *sqldb.Tx, posts []*post) ([]result, error) {
	begin := time.Now()
	results, err := s.appendBatch(ctx, tx, posts)
	if err != nil {
		return nil, err
	}
	tx.AfterCommit(func() { s.obs.Metrics.BatchSize.Observe(time.Since(begin)) })
	return results, nil
}

// Start brings the service to where it can take messages. It may be called again
// if it fails.
func (s *Service) Start(ctx context.Context) error {
	if err := s.outbox.Migrate(ctx); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	if err := s.db.Migrate(ctx, obs.Messaging.String(), Migrations()); err != nil {
		return err
	}
	st, err := loadIdentity(ctx, s.db)
	if err != nil {
		return fmt.Errorf("store identity: %w", err)
	}
	identity, err := s.db.SystemIdentity(ctx)
	if err != nil {
		return fmt.Errorf("identity of the database: %w", err)
	}
	s.epoch = epochOf(st.epoch, identity)
	s.told.Store(&s.epoch)
	if s.ids, err = newIDs(st.mask); err != nil {
		return err
	}
	if err := s.startHub(ctx); err != nil {
		return err
	}
	m := s.obs.Metrics
	m.ActiveConnections.Pull(func() float64 { return float64(s.hub.open()) })
	m.QueueLag.Pull(obs.QueueFanout, s.hub.lag)
	s.revocations.OnRevoke(s.hub.revoke)
	s.group.Worker("messaging.marks", 5*time.Second, s.marks.run)
	s.group.Worker("messaging.sweep", time.Second, s.sweep)
	return nil
}

// startHub lets the hub begin where the log ends.
func (s *Service) startHub(ctx context.Context) error {
	last, err := s.outbox.Last(ctx)
	if err != nil {
		return fmt.Errorf("last position: %w", err)
	}
	s.hub.applied.Store(last)
	s.outbox.FollowFrom(last)
	s.subscribed.Do(func() {
		cancel := s.fanout.Subscribe("messaging.hub", s.hear)
		s.group.OnStop("messaging.hub", time.Second, func(context.Context) error { cancel(); return nil })
	})
	return s.outbox.Start(ctx)
}

// hear takes what other nodes tell: hints go to the hub as they are, and what is
// in the log goes by way of the outbox, which puts it in order. Word that
// something may be missing changes nothing: the outbox finds that by itself.
func (s *Service) hear(ctx context.Context, batch []bus.Envelope) {
	unlogged := func(e bus.Envelope) bool { return e.Pos == 0 }
	if !slices.ContainsFunc(batch, unlogged) {
		s.outbox.Hear(batch)
		return
	}
	var hints, logged []bus.Envelope
	for i := range batch {
		switch {
		case batch[i].Pos != 0:
			logged = append(logged, batch[i])
		case batch[i].Type == typeHint:
			hints = append(hints, batch[i])
		case batch[i].Type == typeOpened:
			s.hub.announced(ctx, &batch[i])
		}
	}
	s.hub.apply(ctx, hints)
	s.outbox.Hear(logged)
}

// Epoch is that of the store, "" until the service has started. It tells apart
// positions of this database and of one that was there before.
func (s *Service) Epoch() string {
	if e := s.told.Load(); e != nil {
		return *e
	}
	return ""
}

// Ledger is the account of all sends so far.
func (s *Service) Ledger() Ledger { return s.ledger.sum() }

// Outbox is the service's outbox.
func (s *Service) Outbox() *outbox.Outbox { return s.outbox }

// sweepEvery is the resolution of the timeouts that the sweep keeps.
const sweepEvery = 250 * time.Millisecond

// sweep closes sockets that say no hello and watches over acknowledgements. One
// goroutine does it for all sockets: a timer each would cost them memory.
func (s *Service) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		for _, so := range s.openings.due(now) {
			so.conn.Close(obs.CloseHelloTimeout, "no hello")
		}
		if n%4 == 0 {
			s.sweepUnacked(now)
			s.sweepUnheard()
		}
	}
}

// maxSilence is how long sockets stay open while nobody tells which sessions
// have ended.
const maxSilence = 30 * time.Second

// sweepUnheard sends everybody to a node that knows more.
func (s *Service) sweepUnheard() {
	if s.revocations.Silence() < maxSilence {
		return
	}
	for _, so := range s.hub.all() {
		so.conn.Close(obs.CloseUnheard, "")
	}
}

func (s *Service) sweepUnacked(now time.Time) {
	var oldest time.Duration
	for _, so := range s.hub.all() {
		count, age := so.overdue(now)
		if count > 0 {
			s.obs.Metrics.DeliveryFailures.Add(obs.DeliveryUnacked, count)
		}
		oldest = max(oldest, age)
	}
	s.obs.Metrics.UnackedOldest.Set(oldest.Seconds())
}
