package sqldb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/run"
)

const (
	claimFor   = 5 * time.Second // how long the server keeps it for a process that is silent
	claimEvery = time.Second     // a sign of life
	claimTime  = time.Second     // for one try, or sign
	claimPoll  = 200 * time.Millisecond
)

// ErrClaimed says that another process has what was to be claimed.
var ErrClaimed = errors.New("another process has claimed it")

// Claim is a name in a database that one process has at a time. What keeps it is
// a session of the server's: it ends with the process, and a few seconds after
// the server has last heard of it.
type Claim struct {
	Name string
	Wait time.Duration // for one who has it and may be gone already
	// Lost is called if another process has taken it while the server could not be
	// reached, or did not hear of this one.
	Lost func()

	engine *postgres
	link   *link
}

// Claim takes a name for this process, until the group stops. It is [ErrClaimed]
// if another process has it and goes on living. A SQLite database is one
// process's with all that is in it.
func (db *DB) Claim(ctx context.Context, g *run.Group, c Claim) error {
	engine, ok := db.engine.(*postgres)
	if !ok {
		return nil
	}
	c.engine = engine
	if err := c.take(ctx); err != nil {
		return err
	}
	g.Worker("sqldb.claim", 2*claimTime, c.keep)
	return nil
}

// take waits while the server is away, and Wait long for one who has the name.
func (c *Claim) take(ctx context.Context) error {
	var since time.Time // the first time that it was another's
	for {
		taken, err := c.try()
		bad, wrong := errors.AsType[*misfit](err)
		switch {
		case taken:
			return nil
		case wrong:
			return c.engine.db.blame(bad)
		case err == nil && since.IsZero():
			since = time.Now()
		case err == nil && time.Since(since) > c.Wait:
			return ErrClaimed
		}
		select {
		case <-time.After(claimPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *Claim) try() (taken bool, err error) {
	kind := c.engine.reading()
	kind.settings = append(kind.settings, pgSetting{"idle_session_timeout", fmt.Sprintf("%ds", claimFor/time.Second)})
	l, err := c.engine.dial(time.Now().Add(claimTime), kind)
	if err != nil {
		return false, err
	}
	got, err := row(l, fmt.Sprintf("SELECT pg_try_advisory_lock(%d)", lockOf("nova claim "+c.Name)))
	if err != nil || got[0] != "t" {
		return false, errors.Join(err, l.close())
	}
	c.link = l
	return true, nil
}

// keep gives the server a sign of life now and then, and takes the name again
// when the session has ended.
func (c *Claim) keep(ctx context.Context) {
	tick := time.NewTicker(claimEvery)
	defer tick.Stop()
	defer func() { _ = c.link.close() }() // which gives the name back
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		_ = c.link.net.SetDeadline(time.Now().Add(claimTime))
		if _, err := row(c.link, "SELECT 1"); err == nil {
			continue
		}
		_ = c.link.close()
		if err := c.take(ctx); err != nil {
			if ctx.Err() == nil {
				c.Lost()
			}
			return
		}
	}
}
