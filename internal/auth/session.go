package auth

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
)

// grant is what a caller gets who has proved who they are.
type grant struct {
	account account
	session session
	proof   refreshProof
	ended   []session // what the grant put an end to
	access  obs.Secret
	refresh obs.Secret
}

// grantIn runs fn in a transaction and signs what it granted after the commit.
func (s *Service) grantIn(ctx context.Context, op string, now time.Time, fn func(context.Context, *sqldb.Tx) (*grant, error)) (*grant, error) {
	var g *grant
	err := s.deps.DB.Write(ctx, op, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		g, err = fn(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.tell(ctx, g.ended)
	if g.account.id == "" {
		return g, nil // nothing was granted; the caller knows why
	}
	g.refresh = s.ring().write(g.proof)
	g.access, err = s.ring().issue(g.session, now)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return g, nil
}

// openSession makes a session of the device. It ends the one that the device
// had, those that are over, and the least recently used above the cap.
func (s *Service) openSession(ctx context.Context, tx *sqldb.Tx, acct account, device string, now time.Time) (*grant, error) {
	have, err := sessionsOf(ctx, tx, acct.id)
	if err != nil {
		return nil, err
	}
	var ended []session
	have = slices.DeleteFunc(have, func(x session) bool {
		gone := x.device == device || !s.live(x, now)
		if gone {
			ended = append(ended, x)
		}
		return gone
	})
	if over := len(have) - (maxSessions - 1); over > 0 {
		ended = append(ended, have[:over]...)
	}
	if err := s.end(ctx, tx, ended, now); err != nil {
		return nil, err
	}
	g := s.newSession(acct, device, now)
	g.ended = ended
	return g, tx.Insert(ctx, "sessions", sessionInsert, g.session.args())
}

func (s *Service) newSession(acct account, device string, now time.Time) *grant {
	proof := newRefresh(id.New())
	return &grant{account: acct, proof: proof, session: session{
		id: proof.session, account: acct.id, device: device, refresh: digest(s.ring().write(proof)),
		rotated: now, created: now, used: now, accessUntil: now.Add(s.cfg.AccessLife),
	}}
}

// over is when a session ends by itself.
func (s *Service) over(x session) time.Time {
	life, idle := x.created.Add(s.cfg.SessionLife), x.used.Add(s.cfg.RefreshIdle)
	if idle.Before(life) {
		return idle
	}
	return life
}

func (s *Service) live(x session, now time.Time) bool { return now.Before(s.over(x)) }

// logout ends the caller's session; it is no error if it has ended already.
func (s *Service) logout(ctx context.Context, who token.Identity) error {
	_, err := s.endWhere(ctx, "auth.logout", who.UserID, func(x session) bool { return x.id == who.SessionID })
	return err
}

// endSession ends a session of the caller's. One of somebody else's answers as
// one that does not exist.
func (s *Service) endSession(ctx context.Context, who token.Identity, sessionID string) error {
	if !id.Valid(sessionID) {
		return fault.BadID("id")
	}
	n, err := s.endWhere(ctx, "auth.end_session", who.UserID, func(x session) bool { return x.id == sessionID })
	if err == nil && n == 0 {
		return fault.New(fault.CodeNotFound, "")
	}
	return err
}

// endOthers ends all sessions of the caller's account but the one that asks,
// which has its own way out: logout.
func (s *Service) endOthers(ctx context.Context, who token.Identity) error {
	_, err := s.endWhere(ctx, "auth.end_sessions", who.UserID, func(x session) bool { return x.id != who.SessionID })
	return err
}

// endWhere ends the account's sessions that which names. Once begun it is not
// cut short by a caller who goes away.
func (s *Service) endWhere(ctx context.Context, op, acct string, which func(session) bool) (int, error) {
	var ended []session
	ctx, cancel := finish(ctx)
	defer cancel()
	err := s.deps.DB.Write(ctx, op, func(ctx context.Context, tx *sqldb.Tx) error {
		have, err := sessionsOf(ctx, tx, acct)
		if err != nil {
			return err
		}
		ended = slices.DeleteFunc(have, func(x session) bool { return !which(x) })
		return s.end(ctx, tx, ended, time.Now())
	})
	if err != nil {
		return 0, err
	}
	s.tell(ctx, ended)
	return len(ended), nil
}

// finish gives work that must not be cut short by the caller's going away a
// time of its own.
func finish(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}

// sessions lists the live sessions of the caller's account, newest use first.
func (s *Service) sessions(ctx context.Context, who token.Identity) ([]session, error) {
	var have []session
	err := s.deps.DB.Read(ctx, "auth.sessions", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		have, err = sessionsOf(ctx, tx, who.UserID)
		return err
	})
	now := time.Now()
	have = slices.DeleteFunc(have, func(x session) bool { return !s.live(x, now) })
	slices.Reverse(have)
	return have, err
}
