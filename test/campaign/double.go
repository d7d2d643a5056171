package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Classes in which two things happen at once: what only shows when the one
// finds the deployment in the middle of the other.

// redisReaders ends the connections over which nodes hear of each other, while
// those over which they tell go on.
func redisReaders(s *scene) []stroke {
	const times = 8
	return []stroke{{
		text: "readers of redis ended", heal: nothing,
		inject: func(ctx context.Context) (err error) {
			for range times {
				err = errors.Join(err, s.redis.EndReaders(ctx))
				pause(ctx, s.between(300*time.Millisecond, 600*time.Millisecond))
			}
			return err
		},
	}}
}

// postgresCrash ends PostgreSQL at once while commits wait for its disk.
func postgresCrash(s *scene) []stroke {
	return []stroke{{
		text: "postgres ended at once, in commits", hold: s.long(), want: all(database), away: s.names(),
		inject: func(ctx context.Context) error {
			err := s.slowCommits(ctx)
			pause(ctx, s.between(500*time.Millisecond, time.Second))
			await(ctx, flowWithin, func() bool {
				waiting, err := s.postgres.Column(ctx, `SELECT pid FROM pg_stat_activity WHERE application_name = 'nova messaging' AND query = 'COMMIT' AND state = 'active'`)
				return err == nil && len(waiting) > 0
			})
			return errors.Join(err, s.postgres.Abort())
		},
		heal: func(ctx context.Context) error {
			err := s.postgres.Start()
			return errors.Join(err, s.usualCommits(ctx))
		},
	}}
}

// slowRestart ends a node in order while commits are slow, so that sends wait in
// it.
func slowRestart(s *scene) []stroke {
	i, n := s.target()
	return []stroke{{
		text: fmt.Sprintf("node %d restarted, commits slow", i+1), hold: s.long(), want: only(i, gone),
		inject: func(ctx context.Context) error {
			err := s.slowCommits(ctx)
			pause(ctx, s.between(time.Second, 2*time.Second))
			s.terminate(n)
			return err
		},
		heal: func(ctx context.Context) error { return errors.Join(s.usualCommits(ctx), n.Start()) },
	}}
}

// slowResume kills a node while PostgreSQL is slow for the other one, where
// those who come have to wait for what they missed.
func slowResume(s *scene) []stroke {
	const roundTrip = 20 * time.Millisecond
	i, n := s.target()
	other := s.nodes[1-i]
	return []stroke{{
		text: fmt.Sprintf("node %d killed, postgres slow", i+1), hold: s.long(), want: only(i, gone),
		inject: func(ctx context.Context) error {
			err := other.postgres.Latency(roundTrip)
			pause(ctx, s.between(time.Second, 2*time.Second))
			n.Stop(syscall.SIGKILL)
			return err
		},
		heal: func(context.Context) error { return errors.Join(other.postgres.Restore(), n.Start()) },
	}}
}

// slowCommits has each commit wait for 40 ms and more before it is on the
// disk.
func (d *deployment) slowCommits(ctx context.Context) error {
	return d.postgres.Exec(ctx, "ALTER SYSTEM SET commit_delay = 40000", "ALTER SYSTEM SET commit_siblings = 0", "SELECT pg_reload_conf()")
}

func (d *deployment) usualCommits(ctx context.Context) error {
	return d.postgres.Exec(ctx, "ALTER SYSTEM RESET commit_delay", "ALTER SYSTEM RESET commit_siblings", "SELECT pg_reload_conf()")
}

// killAll kills both nodes at once.
func (s *scene) killAll() {
	for _, n := range s.nodes {
		n.Stop(syscall.SIGKILL)
	}
}

func (s *scene) startAll() (err error) {
	for _, n := range s.nodes {
		err = errors.Join(err, n.Start())
	}
	return err
}

// kafkaNodes kills the nodes while they have events that Kafka has not.
func kafkaNodes(s *scene) []stroke {
	return []stroke{{
		text: "kafka and then both nodes killed", hold: 2500 * time.Millisecond, want: all(gone),
		inject: func(ctx context.Context) error {
			err := s.kafka.Kill()
			pause(ctx, s.long())
			s.killAll()
			return err
		},
		heal: simple(func() error { return errors.Join(s.kafka.Start(), s.startAll()) }),
	}}
}

// consumerKill kills the nodes while the consumer of the events of accounts
// cannot handle them, since what it writes to is locked.
func consumerKill(s *scene) []stroke {
	return []stroke{{
		text: "a consumer locked out, both nodes killed", hold: 2500 * time.Millisecond, want: all(gone),
		inject: func(ctx context.Context) error {
			release, err := s.postgres.Hold(ctx, `LOCK TABLE "user".consumed IN ACCESS EXCLUSIVE MODE`)
			if err != nil {
				return err
			}
			pause(ctx, s.long()) // accounts are made meanwhile
			s.killAll()
			return release()
		},
		heal: simple(s.startAll),
	}}
}
