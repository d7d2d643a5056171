package auth

import (
	"context"
	"sync"
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

// tell makes this process refuse what has ended, before the caller is answered,
// and lets others know.
func (s *Service) tell(ctx context.Context, ended []session) {
	now := time.Now()
	for _, x := range ended {
		until := revokedUntil(x, now)
		if s.deps.Revocations != nil {
			s.deps.Revocations.Revoke(x.id, until)
		}
		if s.deps.Tell != nil {
			s.deps.Tell(ctx, x.id, until)
		}
	}
}

// Revocations is the long poll of the revocation log: what stands after a
// position, at once if there is something, else as soon as there is, else
// nothing after wait_ms. Positions grow by one with each revocation, in the order
// of the commits on all nodes, but what is past its time is left out. A position
// beyond the end, as after a restored backup, is answered from the beginning.
func (s *Service) Revocations(ctx context.Context, in *authpb.RevocationsRequest) (*authpb.RevocationsResponse, error) {
	wait := min(time.Duration(max(in.GetWaitMs(), 0))*time.Millisecond, maxPoll)
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)-100*time.Millisecond)
	}
	patience := time.NewTimer(wait)
	defer patience.Stop()
	for patient := wait > 0; ; {
		rung, alive := s.news.wait() // before the look, so that no commit falls in between
		out, err := s.revokedAfter(ctx, in.GetAfter())
		if err != nil || out.GetLast() != in.GetAfter() || !alive || !patient {
			return out, err
		}
		if patient, err = s.hear(ctx, rung, patience.C); err != nil {
			return nil, err
		}
	}
}

// hear waits until something was committed, here or, where others write to the
// database too, anywhere. It is false when patience has ended first.
func (s *Service) hear(ctx context.Context, rung <-chan struct{}, patience <-chan time.Time) (bool, error) {
	var due <-chan time.Time // never, where nobody else writes
	var again *time.Timer
	if s.shared {
		again = time.NewTimer(s.others.pause(time.Now()))
		defer again.Stop()
		due = again.C
	}
	for {
		select {
		case <-rung:
			return true, nil
		case <-patience:
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-due:
		}
		if err := s.lookOut(ctx); err != nil {
			return false, err
		}
		again.Reset(s.others.pause(time.Now()))
	}
}

// lookout finds out for all long polls of a process what other processes have
// committed. However many wait, one of them looks, every half second.
type lookout struct {
	mu   sync.Mutex // guards what follows
	next time.Time  // nobody looks before
	last int64      // the greatest position seen
}

// pause is how long it is until the next look.
func (l *lookout) pause(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.next.Sub(now), 0)
}

// turn says whether the caller is to look; of many at once one is.
func (l *lookout) turn(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		return false
	}
	l.next = now.Add(recheck)
	return true
}

// saw notes the end of the log; it is true if that was news.
func (l *lookout) saw(last int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := last != l.last
	l.last = last
	return news
}

// missed gives the turn back.
func (l *lookout) missed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = time.Time{}
}

// lookOut looks if it is this caller's turn, and wakes everybody if there is news.
func (s *Service) lookOut(ctx context.Context) error {
	if !s.others.turn(time.Now()) {
		return nil
	}
	var last int64
	err := s.deps.DB.Read(ctx, "auth.look_out", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		last, err = logEnd(ctx, tx)
		return err
	})
	if err != nil {
		s.others.missed() // whoever asked may just have gone away
		return err
	}
	if s.others.saw(last) {
		s.news.ring()
	}
	return nil
}

func logEnd(ctx context.Context, tx *sqldb.Tx) (last int64, err error) {
	err = tx.QueryRow(ctx, `SELECT last FROM revocation_counter WHERE one = 1`).Scan(&last)
	return last, err
}

func (s *Service) revokedAfter(ctx context.Context, after int64) (*authpb.RevocationsResponse, error) {
	out := &authpb.RevocationsResponse{Last: after}
	err := s.deps.DB.Read(ctx, "auth.revocations", func(ctx context.Context, tx *sqldb.Tx) error {
		out.Items, out.Last = nil, after
		last, err := logEnd(ctx, tx) // first: what is committed after it comes with the next call
		if err != nil || last == after {
			return err
		}
		if last < after {
			after = 0
		}
		rows, err := tx.Query(ctx, `SELECT pos, session_id, until_ms FROM revocations
			WHERE pos > $1 AND pos <= $2 AND until_ms > $3 ORDER BY pos LIMIT $4`, after, last, time.Now().UnixMilli(), pollPage)
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
