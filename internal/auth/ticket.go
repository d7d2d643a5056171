package auth

import (
	"context"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
)

// ticket gives a session a one-time proof that a browser can send in a frame.
func (s *Service) ticket(ctx context.Context, who token.Identity) (obs.Secret, error) {
	fresh := newTicket()
	err := s.deps.DB.Write(ctx, "auth.ticket", func(ctx context.Context, tx *sqldb.Tx) error {
		now := time.Now()
		x, ok, err := sessionByID(ctx, tx, who.SessionID)
		if err != nil {
			return err
		}
		if !ok || x.account != who.UserID || !s.live(x, now) {
			return fault.New(fault.CodeUnauthenticated, "sign in again")
		}
		return tx.Insert(ctx, "tickets", []string{"hash", "session_id", "expires_ms"},
			[]any{digest(fresh), x.id, now.Add(s.cfg.TicketLife).UnixMilli()})
	})
	return fresh, err
}

// redeem takes a ticket, once, and gives its session. A ticket goes with its
// session, so one of a session that has ended is unknown.
func (s *Service) redeem(ctx context.Context, raw obs.Secret) (x session, ok bool, err error) {
	err = s.deps.DB.Write(ctx, "auth.redeem", func(ctx context.Context, tx *sqldb.Tx) error {
		now := time.Now()
		var expires int64
		x, ok = session{}, false
		row := tx.QueryRow(ctx, `DELETE FROM tickets WHERE hash = $1 RETURNING session_id, expires_ms`, digest(raw))
		found, err := absent(row.Scan(&x.id, &expires))
		if err != nil || !found || expires <= now.UnixMilli() {
			return err
		}
		x, ok, err = sessionByID(ctx, tx, x.id)
		ok = ok && s.live(x, now)
		return err
	})
	return x, ok && err == nil, err
}
