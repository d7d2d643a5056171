package auth

import (
	"context"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// verdict is what a refresh proof turned out to be.
type verdict uint8

const (
	unknown verdict = iota // never given out, or of a session that is over
	reused                 // replaced, and the grace is past: somebody else has it
	good
)

// rotate exchanges a refresh proof for the next pair. All failures are answered
// alike; the reason is counted and logged.
func (s *Service) rotate(ctx context.Context, raw obs.Secret) (*grant, error) {
	proof, ok := s.ring().read(raw)
	if !ok {
		return nil, s.refuseRefresh(ctx, obs.RefreshUnknown, session{})
	}
	now := time.Now()
	var judged verdict
	write, cancel := finish(ctx) // a reuse ends the session even if the caller has gone
	defer cancel()
	g, err := s.grantIn(write, "auth.refresh", now, func(ctx context.Context, tx *sqldb.Tx) (g *grant, err error) {
		g, judged, err = s.judge(ctx, tx, proof, digest(raw), now)
		return g, err
	})
	switch {
	case err != nil:
		return nil, err
	case judged == reused:
		return nil, s.refuseRefresh(ctx, obs.RefreshReused, g.session)
	case judged == unknown:
		return nil, s.refuseRefresh(ctx, obs.RefreshUnknown, session{})
	}
	return g, nil
}

// judge decides about a proof that was certainly given out, and does what
// follows from it. Its outcome is no error, since an error would undo it.
func (s *Service) judge(ctx context.Context, tx *sqldb.Tx, proof refreshProof, hash string, now time.Time) (*grant, verdict, error) {
	g := &grant{proof: s.ring().successor(proof)}
	x, ok, err := sessionByID(ctx, tx, proof.session)
	g.session = x
	if err != nil || !ok {
		return g, unknown, err
	}
	if !s.live(x, now) {
		g.ended = []session{x}
		return g, unknown, s.end(ctx, tx, g.ended, now)
	}
	again := hash == x.previous && now.Sub(x.rotated) < s.cfg.Grace
	if hash != x.refresh && !again {
		g.ended = []session{x}
		return g, reused, s.end(ctx, tx, g.ended, now)
	}
	if g.account, _, err = accountByID(ctx, tx, x.account); err != nil {
		return g, unknown, err
	}
	if !again {
		g.session.refresh, g.session.previous = digest(s.ring().write(g.proof)), hash
		g.session.rotated, g.session.used = now, now
	}
	g.session.accessUntil = now.Add(s.cfg.AccessLife)
	return g, good, updateSession(ctx, tx, g.session, x.accessUntil)
}

// updateSession stores a rotation. The latest end of any access proof given out
// is kept: a revocation must last as long.
func updateSession(ctx context.Context, tx *sqldb.Tx, x session, latest time.Time) error {
	if x.accessUntil.After(latest) {
		latest = x.accessUntil
	}
	_, err := tx.Exec(ctx, `UPDATE sessions SET refresh_hash = $1, previous_hash = $2, rotated_ms = $3, used_ms = $4, access_until_ms = $5 WHERE id = $6`,
		x.refresh, x.previous, x.rotated.UnixMilli(), x.used.UnixMilli(), latest.UnixMilli(), x.id)
	return err
}

func (s *Service) refuseRefresh(ctx context.Context, why obs.IdentityReason, x session) error {
	s.metrics.IdentityRefusals.Inc(why)
	log, op := s.deps.Obs.Log(obs.Auth), slog.String("op", "auth.refresh")
	if why == obs.RefreshReused {
		log.LogAttrs(ctx, slog.LevelWarn, "a used proof came again, its session was ended", op, obs.Reason(why),
			slog.String("user_id", x.account), slog.String("session_id", x.id), slog.String("device_id", x.device))
	} else if s.deps.Obs.Sample(obs.SiteIdentity) {
		log.LogAttrs(ctx, slog.LevelInfo, "refresh refused", op, obs.Reason(why))
	}
	return fault.New(fault.CodeUnauthenticated, "sign in again")
}
