package auth

import (
	"context"
	"time"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/sqldb"
)

// leeway is how much longer a revocation is kept than the last access proof
// lives: clocks differ.
const leeway = time.Minute

// pollPage is the most revocations that one answer holds.
const pollPage = 10_000

// end removes sessions and puts them into the revocation log.
func (s *Service) end(ctx context.Context, tx *sqldb.Tx, ended []session, now time.Time) error {
	if len(ended) == 0 {
		return nil
	}
	if err := deleteSessions(ctx, tx, ended); err != nil {
		return err
	}
	err := insertRevocations(ctx, tx, ended, func(x session) time.Time { return revokedUntil(x, now) })
	if err == nil {
		tx.AfterCommit(s.news.ring)
	}
	return err
}

func revokedUntil(x session, now time.Time) time.Time {
	if x.accessUntil.After(now) {
		now = x.accessUntil
	}
	return now.Add(leeway)
}

// tell makes this process refuse what has ended, before the caller is answered.
func (s *Service) tell(ended []session) {
	if s.deps.Revocations == nil {
		return
	}
	now := time.Now()
	for _, x := range ended {
		s.deps.Revocations.Revoke(x.id, revokedUntil(x, now))
	}
}

// Revocations is the long poll of the revocation log: what stands after a
// position, at once if there is something, else as soon as there is, else
// nothing after wait_ms. Positions grow by one with each revocation, but what
// is past its time is left out.
func (s *Service) Revocations(ctx context.Context, in *authpb.RevocationsRequest) (*authpb.RevocationsResponse, error) {
	wait := min(time.Duration(max(in.GetWaitMs(), 0))*time.Millisecond, maxPoll)
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)-100*time.Millisecond)
	}
	patience := time.NewTimer(wait)
	defer patience.Stop()
	for {
		rung, alive := s.news.wait() // before the look, so that no commit falls in between
		out, err := s.revokedAfter(ctx, in.GetAfter())
		if err != nil || len(out.Items) > 0 || !alive || wait <= 0 {
			return out, err
		}
		again := time.NewTimer(recheck)
		select {
		case <-rung:
		case <-again.C: // another process may have committed
		case <-patience.C:
			wait = 0
		case <-ctx.Done():
			wait = 0
		}
		again.Stop()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

func (s *Service) revokedAfter(ctx context.Context, after int64) (*authpb.RevocationsResponse, error) {
	out := &authpb.RevocationsResponse{Last: after}
	err := s.deps.DB.Read(ctx, "auth.revocations", func(ctx context.Context, tx *sqldb.Tx) error {
		out.Items, out.Last = nil, after
		var last int64
		if err := tx.QueryRow(ctx, `SELECT last FROM revocation_counter WHERE one = 1`).Scan(&last); err != nil || last <= after {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT pos, session_id, until_ms FROM revocations
			WHERE pos > $1 AND until_ms > $2 ORDER BY pos LIMIT $3`, after, time.Now().UnixMilli(), pollPage)
		out.Items, err = collect(rows, err, func(rows *sqldb.Rows) (*authpb.Revocation, error) {
			r := &authpb.Revocation{}
			return r, rows.Scan(&r.Pos, &r.SessionId, &r.UntilMs)
		})
		if out.Last = last; len(out.Items) == pollPage {
			out.Last = out.Items[pollPage-1].GetPos()
		}
		return err
	})
	return out, err
}

// prune removes what is past, a bounded number of rows at a time. Sessions that
// ended by themselves are revoked too: their sockets may still be open.
func (s *Service) prune(ctx context.Context, tx *sqldb.Tx) error {
	now := time.Now()
	for _, query := range []string{
		`DELETE FROM tickets WHERE hash IN (SELECT hash FROM tickets WHERE expires_ms < $1 LIMIT $2)`,
		`DELETE FROM login_failures WHERE name_mac IN (SELECT name_mac FROM login_failures WHERE forget_ms < $1 LIMIT $2)`,
		`DELETE FROM revocations WHERE pos IN (SELECT pos FROM revocations WHERE until_ms < $1 LIMIT $2)`,
	} {
		if _, err := tx.Exec(ctx, query, now.UnixMilli(), pruneBatch); err != nil {
			return err
		}
	}
	idle, life := now.Add(-s.cfg.RefreshIdle).UnixMilli(), now.Add(-s.cfg.SessionLife).UnixMilli()
	rows, err := tx.Query(ctx, `SELECT `+sessionColumns+` FROM sessions s WHERE s.used_ms <= $1 OR s.created_ms <= $2 LIMIT $3`, idle, life, pruneBatch)
	past, err := collect(rows, err, func(rows *sqldb.Rows) (x session, err error) { return x, x.scan(rows) })
	if err != nil {
		return err
	}
	return s.end(ctx, tx, past, now)
}
