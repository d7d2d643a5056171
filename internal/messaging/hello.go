package messaging

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/messaging/inbound"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/ws"
)

const (
	helloWithin    = 5 * time.Second  // from the upgrade to the hello
	helloTimeout   = 10 * time.Second // for answering it
	heartbeatEvery = 30 * time.Second
)

// welcomeFrame answers hello.
type welcomeFrame struct {
	Op          string          `json:"op"`
	ID          string          `json:"id,omitempty"`
	CID         obs.Correlation `json:"cid"`
	SessionID   string          `json:"session_id"`
	UserID      string          `json:"user_id"`
	DeviceID    string          `json:"device_id"`
	Epoch       string          `json:"epoch"`
	HeartbeatMS int64           `json:"heartbeat_ms"`
	Limits      map[string]any  `json:"limits"`
}

// hello authenticates the socket and lets it join. The work is done on a
// goroutine of its own, so that the stack of the reading goroutine, which lives
// as long as the socket, stays small.
func (so *socket) hello(ctx context.Context, now phase, in *inbound.Frame) error {
	if now != opening {
		so.conn.Close(obs.CloseBadFrame, "hello twice")
		return nil
	}
	so.setPhase(greeting)
	done := make(chan struct{})
	so.s.group.Go(ctx, "messaging.hello", func(ctx context.Context) {
		defer close(done)
		ctx, cancel := context.WithTimeout(ctx, helloTimeout)
		defer cancel()
		so.greet(ctx, in)
	})
	<-done
	return nil
}

func (so *socket) setPhase(p phase) {
	so.mu.Lock()
	defer so.mu.Unlock()
	if so.phase != gone {
		so.phase = p
	}
}

func (so *socket) greet(ctx context.Context, in *inbound.Frame) {
	if so.s.draining.Load() {
		so.conn.Close(obs.CloseShutdown, "restarting")
		return
	}
	if so.s.revocations.Silence() > 0 {
		so.conn.Close(obs.CloseUnheard, "")
		return
	}
	if err := so.identify(ctx, in.Ticket); err != nil {
		so.turnAway(in, err)
		return
	}
	if !so.admit() {
		return
	}
	so.s.group.Go(ctx, "messaging.announce", so.announce)
	plan, err := so.plan(ctx, in.Resume)
	if err != nil {
		so.s.log.LogAttrs(ctx, slog.LevelError, "hello failed", slog.String("user_id", so.who.UserID), slog.String("reason", fault.CodeOf(err).String()), obs.Cause(err))
		so.conn.Send(errorFrame(in.ID, in.CID, fault.From(err)))
		so.conn.Close(obs.CloseOverloaded, "try again later")
		return
	}
	if plan.refused != nil {
		so.fail(in.ID, in.CID, plan.refused)
	}
	so.welcome(in)
	if plan.nothing() {
		so.joinLive(ctx)
		return
	}
	so.setPhase(catching)
	so.s.group.Go(ctx, "messaging.catchup", func(ctx context.Context) { so.catchUp(ctx, plan) })
}

// identify finds out who it is: by the ticket, or by what came with the upgrade.
func (so *socket) identify(ctx context.Context, ticket string) error {
	if ticket == "" {
		if so.refused == nil && so.who.UserID == "" {
			return fault.New(fault.CodeUnauthenticated, "Send Authorization with the upgrade, or a ticket.")
		}
		return so.refused
	}
	res, err := so.s.auth.RedeemTicket(ctx, &authpb.RedeemTicketRequest{Ticket: ticket})
	if err != nil {
		return err
	}
	so.who = token.Identity{UserID: res.GetUserId(), SessionID: res.GetSessionId(), DeviceID: res.GetDeviceId(), ExpiresAt: time.UnixMilli(res.GetExpiresMs())}
	return nil
}

// turnAway closes the socket with the code that says why.
func (so *socket) turnAway(in *inbound.Frame, err error) {
	f := fault.From(err)
	so.s.obs.Metrics.SocketErrors.Inc(f.Code)
	so.conn.Send(errorFrame(in.ID, in.CID, f))
	switch {
	case f.Code != fault.CodeUnauthenticated:
		so.conn.Close(obs.CloseOverloaded, "try again later")
	case so.s.revokedIdentity(err):
		so.conn.Close(obs.CloseRevoked, "session ended")
	default:
		so.conn.Close(obs.CloseIdentity, "not authenticated")
	}
}

func (s *Service) revokedIdentity(err error) bool {
	why, ok := s.verifier.Reason(err)
	return ok && why == obs.IdentityRevoked
}

func (so *socket) welcome(in *inbound.Frame) {
	b, err := json.Marshal(welcomeFrame{
		Op: "welcome", ID: in.ID, CID: in.CID, SessionID: so.who.SessionID, UserID: so.who.UserID, DeviceID: so.who.DeviceID,
		Epoch: so.s.epoch, HeartbeatMS: heartbeatEvery.Milliseconds(), Limits: so.s.limits,
	}, json.Deterministic(true))
	if err != nil {
		so.fail(in.ID, in.CID, err)
		return
	}
	so.conn.Queue(ws.NewFrame(b, ws.Control, time.Time{}))
}

var liveFrame = ws.NewFrame([]byte(`{"op":"live"}`), ws.Control, time.Time{})

// joinLive makes the socket live at once; nothing was missed.
func (so *socket) joinLive(ctx context.Context) {
	if so.join(func(int64) { so.goLive() }) {
		so.established(ctx)
	}
}

// goLive queues the live frame and lets events through from then on.
func (so *socket) goLive() {
	so.mu.Lock()
	defer so.mu.Unlock()
	if so.phase == gone {
		return
	}
	so.phase = live
	so.conn.Queue(liveFrame)
}

// admit makes the socket known to the hub; false if it must not be, and was closed.
func (so *socket) admit() bool {
	so.admitted = time.Now()
	replaced, ok := so.s.hub.admit(so, so.s.socketsPerUser)
	if replaced != nil {
		replaced.conn.Close(obs.CloseReplaced, "another socket of this session")
	}
	if !ok {
		so.s.obs.Metrics.RateLimited.Inc(obs.LimitSocketsPerUser)
		so.conn.Close(obs.CloseRateLimited, "too many sockets of this user")
		return false
	}
	if so.isGone() { // closed before it was admitted: closed() found nothing to remove
		so.s.hub.leave(so)
		return false
	}
	// Revoked between the check and the admission: the revocation found no socket.
	if so.s.revocations.Has(so.who.SessionID) {
		so.conn.Close(obs.CloseRevoked, "session ended")
		return false
	}
	return true
}

// join lets the socket have what is handed out; false if it has ended.
func (so *socket) join(before func(applied int64)) bool {
	return so.s.hub.join(so, before)
}

func (so *socket) established(ctx context.Context) {
	so.s.sockets.Kick()
	so.s.obs.Metrics.SocketEstablish.Observe(time.Since(so.conn.AcceptedAt()))
	if so.s.obs.Sample(obs.SiteSocket) {
		so.s.log.LogAttrs(ctx, slog.LevelInfo, "socket live", slog.String("user_id", so.who.UserID), slog.String("device_id", so.who.DeviceID))
	}
}
