package auth

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/nova-chat/nova/internal/sqldb"
)

// A name is blocked for a while once too many logins to it have failed, whether
// or not there is such an account. The counts stand in the database: they
// survive a restart and hold on every node. Their number is bounded by what the
// hashing workers of all nodes can refuse in half an hour.
//
// A device that has a session of the account is counted by itself, so that
// others cannot lock its owner out, and so that knowing a device's name does
// not open a way round the lock.
const (
	freeFailures = 10
	window       = 15 * time.Minute
	firstDelay   = 30 * time.Second
	maxDelay     = 15 * time.Minute
)

// nameMAC is what failures are counted under. It is a keyed hash because what
// people type into the field of the name may be a password.
func (s *Service) nameMAC(username, device string) string {
	return base64.RawURLEncoding.EncodeToString(s.ring().mac("name", username, device))
}

func blockedUntil(ctx context.Context, tx *sqldb.Tx, mac string) (time.Time, error) {
	var ms int64
	_, err := absent(tx.QueryRow(ctx, `SELECT blocked_ms FROM login_failures WHERE name_mac = $1`, mac).Scan(&ms))
	return time.UnixMilli(ms), err
}

// countFailure counts even if the caller has gone: going away must not make a
// try free.
func (s *Service) countFailure(ctx context.Context, mac string) error {
	ctx, cancel := finish(ctx)
	defer cancel()
	return s.deps.DB.Write(ctx, "auth.count_failure", func(ctx context.Context, tx *sqldb.Tx) error {
		now := time.Now()
		var failures, forget int64
		_, err := absent(tx.QueryRow(ctx, `SELECT failures, forget_ms FROM login_failures WHERE name_mac = $1`, mac).Scan(&failures, &forget))
		if err != nil {
			return err
		}
		if forget <= now.UnixMilli() {
			failures, forget = 0, now.Add(window).UnixMilli()
		}
		failures++
		blocked := int64(0)
		if d := delay(failures); d > 0 {
			blocked, forget = now.Add(d).UnixMilli(), now.Add(d+window).UnixMilli()
		}
		_, err = tx.Exec(ctx, `INSERT INTO login_failures (name_mac, failures, blocked_ms, forget_ms) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name_mac) DO UPDATE SET failures = excluded.failures, blocked_ms = excluded.blocked_ms, forget_ms = excluded.forget_ms`,
			mac, failures, blocked, forget)
		return err
	})
}

// delay is how long the next try must wait after so many failures.
func delay(failures int64) time.Duration {
	if failures < freeFailures {
		return 0
	}
	return min(firstDelay<<min(failures-freeFailures, 10), maxDelay)
}

// pardon forgets the failures after a success.
func pardon(ctx context.Context, tx *sqldb.Tx, mac string) error {
	_, err := tx.Exec(ctx, `DELETE FROM login_failures WHERE name_mac = $1`, mac)
	return err
}
