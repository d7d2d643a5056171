package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// class is a class of faults.
type class struct {
	name    string
	brokers int // of Kafka
	// judged are the invariants that a history of this class must have an
	// instance of, besides the usual ones.
	judged []string
	// accounts says that accounts are made while a fault is in force: user learns
	// of them by events, in one group of consumers on all nodes.
	accounts bool
	// cycle draws what one cycle does.
	cycle func(s *scene) []stroke
}

// stroke is one thing that is done to the deployment and taken back.
type stroke struct {
	text   string
	inject func(context.Context) error
	hold   time.Duration
	heal   func(context.Context) error
	// want is what readiness must say of each node meanwhile; "" = anything.
	want [nodeCount]string
	// away are the nodes from which PostgreSQL is away.
	away []string
	// alone: Redis and Kafka are both down.
	alone bool
}

// scene is what a cycle is drawn from.
type scene struct {
	*deployment
	*rand.Rand
	journal *journal
	short   bool
}

// everywhere are the invariants that every history must have an instance of.
var everywhere = []string{"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I15"}

// counters is judged where no process ends: its counters would begin anew.
var counters = []string{"I16"}

// classes are all classes of faults.
var classes = []class{
	{"kill-node", 1, nil, true, killNode},
	{"pause-node", 1, counters, false, pauseNode},
	{"rolling-restart", 1, []string{"I17"}, false, rollingRestart},
	{"postgres-restart", 1, counters, false, postgresRestart},
	{"postgres-commit", 1, counters, false, postgresCommit},
	{"postgres-cut", 1, counters, true, postgresCut},
	{"postgres-slow", 1, counters, false, postgresSlow},
	{"redis-kill", 1, counters, false, redisKill},
	{"redis-flush", 1, counters, false, redisFlush},
	{"redis-stop", 1, counters, false, redisStop},
	{"redis-cut", 1, counters, false, redisCut},
	{"redis-slow", 1, counters, false, redisSlow},
	{"kafka-kill", 1, counters, true, kafkaKill},
	{"kafka-cut", 1, counters, false, kafkaCut},
	{"kafka-slow", 1, counters, false, kafkaSlow},
	{"kafka-leader", 3, counters, false, kafkaLeader},
	{"redis-kafka-down", 1, counters, false, redisKafkaDown},
	{"group-rebalance", 1, nil, true, groupRebalance},
	{"redis-readers", 1, counters, false, redisReaders},
	{"postgres-crash", 1, counters, false, postgresCrash},
	{"slow-restart", 1, []string{"I17"}, false, slowRestart},
	{"slow-resume", 1, nil, false, slowResume},
	{"kafka-nodes", 1, nil, false, kafkaNodes},
	{"consumer-kill", 1, nil, true, consumerKill},
}

// between draws a time.
func (s *scene) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.Int64N(int64(most-least)))
}

// target draws a node.
func (s *scene) target() (int, *node) {
	i := s.IntN(len(s.nodes))
	return i, s.nodes[i]
}

// all expects the same of both nodes.
func all(want string) [nodeCount]string { return [nodeCount]string{want, want} }

// only expects something of one node.
func only(i int, want string) [nodeCount]string {
	w := all(ready)
	w[i] = want
	return w
}

// long is a time in which everybody has noticed and does without.
func (s *scene) long() time.Duration {
	d := s.between(3*time.Second, 5*time.Second)
	if s.short {
		return agreeWithin + d/8
	}
	return d
}

// simple does without a context.
func simple(do func() error) func(context.Context) error {
	return func(context.Context) error { return do() }
}

func nothing(context.Context) error { return nil }

func killNode(s *scene) []stroke {
	i, n := s.target()
	return []stroke{{
		text: fmt.Sprintf("node %d killed", i+1), hold: s.between(time.Second, 4*time.Second), want: only(i, gone),
		inject: func(context.Context) error { n.Stop(syscall.SIGKILL); return nil },
		heal:   simple(n.Start),
	}}
}

func pauseNode(s *scene) []stroke {
	pause := 20 * time.Second
	if s.short {
		pause /= 2
	}
	i, n := s.target()
	return []stroke{{
		text: fmt.Sprintf("node %d stopped", i+1), hold: pause, want: only(i, gone),
		inject: simple(func() error { return n.Signal(syscall.SIGSTOP) }),
		heal:   simple(func() error { return n.Signal(syscall.SIGCONT) }),
	}}
}

func rollingRestart(s *scene) (all3 []stroke) {
	for i, n := range s.nodes {
		all3 = append(all3, stroke{
			text: fmt.Sprintf("node %d restarted", i+1), want: only(i, down),
			inject: func(context.Context) error { s.terminate(n); return nil },
			heal:   simple(n.Start),
		})
	}
	server := func(text, want string, stop, start func() error) stroke {
		return stroke{text: text + " restarted", hold: 2500 * time.Millisecond, want: all(want), inject: simple(stop), heal: simple(start)}
	}
	all3 = append(all3,
		server("redis", "redis away", s.redis.Stop, s.redis.Start),
		server("kafka", "kafka away", s.kafka.Stop, s.kafka.Start),
		server("postgres", database, s.postgres.Stop, s.postgres.Start),
	)
	all3[len(all3)-1].away = s.names()
	s.Shuffle(len(all3), func(i, j int) { all3[i], all3[j] = all3[j], all3[i] })
	return all3
}

// terminate ends a node in order and writes down its ledger.
func (s *scene) terminate(n *node) { s.journal.shutdown(n.name, n.Stop(syscall.SIGTERM)) }

func (d *deployment) names() (list []string) {
	for _, n := range d.nodes {
		list = append(list, n.name)
	}
	return list
}

func postgresRestart(s *scene) []stroke {
	return []stroke{{
		text: "postgres ended at once", hold: s.long(), want: all(database), away: s.names(),
		inject: simple(s.postgres.Abort), heal: simple(s.postgres.Start),
	}}
}

// postgresCommit cuts a node's connections while it commits: commits are made
// to take long, so that most moments are within one.
func postgresCommit(s *scene) []stroke {
	const cuts = 5
	i, n := s.target()
	moments := make([]time.Duration, cuts)
	for k := range moments {
		moments[k] = s.between(150*time.Millisecond, 400*time.Millisecond)
	}
	return []stroke{{
		text: fmt.Sprintf("node %d cut in commits", i+1),
		inject: func(ctx context.Context) error {
			err := s.postgres.Exec(ctx, "ALTER SYSTEM SET commit_delay = 60000", "ALTER SYSTEM SET commit_siblings = 0", "SELECT pg_reload_conf()")
			for _, moment := range moments {
				pause(ctx, moment)
				err = errors.Join(err, n.postgres.Reset())
				pause(ctx, 50*time.Millisecond)
				err = errors.Join(err, n.postgres.Restore())
			}
			return err
		},
		heal: func(ctx context.Context) error {
			return s.postgres.Exec(ctx, "ALTER SYSTEM RESET commit_delay", "ALTER SYSTEM RESET commit_siblings", "SELECT pg_reload_conf()")
		},
	}}
}

// some draws one node or both.
func (s *scene) some() []int {
	switch i := s.IntN(len(s.nodes) + 1); i {
	case len(s.nodes):
		return []int{0, 1}
	default:
		return []int{i}
	}
}

// lines is a stroke at the lines of some nodes.
func (s *scene) lines(what, want string, on []int, do, undo func(*node) error) stroke {
	each := func(do func(*node) error) func(context.Context) error {
		return func(context.Context) (err error) {
			for _, i := range on {
				err = errors.Join(err, do(s.nodes[i]))
			}
			return err
		}
	}
	st := stroke{text: what + " of nodes", hold: s.long(), want: all(ready), inject: each(do), heal: each(undo)}
	for _, i := range on {
		st.text += fmt.Sprintf(" %d", i+1)
		st.want[i] = want
	}
	return st
}

func postgresCut(s *scene) []stroke {
	on := s.some()
	st := s.lines("postgres cut", database, on, func(n *node) error { return n.postgres.Cut() }, func(n *node) error { return n.postgres.Restore() })
	for _, i := range on {
		st.away = append(st.away, s.nodes[i].name)
	}
	return []stroke{st}
}

// slow is the round trip of slow connections.
const slow = 200 * time.Millisecond

func postgresSlow(s *scene) []stroke {
	return []stroke{s.lines("postgres slow", ready, s.some(), func(n *node) error { return n.postgres.Latency(slow) }, func(n *node) error { return n.postgres.Restore() })}
}

func redisKill(s *scene) []stroke {
	return []stroke{{text: "redis killed", hold: s.long(), want: all("redis away"), inject: simple(s.redis.Kill), heal: simple(s.redis.Start)}}
}

func redisFlush(s *scene) []stroke {
	return []stroke{{text: "redis emptied", want: all(ready), inject: s.redis.Flush, hold: s.between(0, time.Second), heal: nothing}}
}

func redisStop(s *scene) []stroke {
	return []stroke{{text: "redis stopped", hold: s.long(), want: all("redis away"), inject: simple(s.redis.Pause), heal: simple(s.redis.Continue)}}
}

func redisCut(s *scene) []stroke {
	return []stroke{s.lines("redis cut", "redis away", s.some(), func(n *node) error { return n.redis.Cut() }, func(n *node) error { return n.redis.Restore() })}
}

func redisSlow(s *scene) []stroke {
	return []stroke{s.lines("redis slow", ready, s.some(), func(n *node) error { return n.redis.Latency(slow) }, func(n *node) error { return n.redis.Restore() })}
}

func kafkaKill(s *scene) []stroke {
	return []stroke{{text: "kafka killed", hold: s.long(), want: all("kafka away"), inject: simple(s.kafka.Kill), heal: simple(s.kafka.Start)}}
}

func kafkaCut(s *scene) []stroke {
	return []stroke{s.lines("kafka cut", "kafka away", s.some(), (*node).cutKafka, (*node).restoreKafka)}
}

func kafkaSlow(s *scene) []stroke {
	return []stroke{s.lines("kafka slow", ready, s.some(), (*node).slowKafka, (*node).restoreKafka)}
}

func (n *node) cutKafka() (err error) {
	for _, p := range n.kafka {
		err = errors.Join(err, p.Cut())
	}
	return err
}

func (n *node) slowKafka() (err error) {
	for _, p := range n.kafka {
		err = errors.Join(err, p.Latency(slow))
	}
	return err
}

func (n *node) restoreKafka() (err error) {
	for _, p := range n.kafka {
		err = errors.Join(err, p.Restore())
	}
	return err
}

// kafkaLeader takes a leader away by force, and gives it back in order.
func kafkaLeader(s *scene) []stroke {
	i := s.IntN(len(s.kafka.Nodes))
	broker := s.kafka.Nodes[i]
	return []stroke{{
		text: fmt.Sprintf("broker %d killed", i+1), hold: s.long(), want: all(moving), inject: simple(broker.Kill),
		heal: func(ctx context.Context) error { return errors.Join(broker.Start(), s.kafka.Lead(ctx)) },
	}}
}

func redisKafkaDown(s *scene) []stroke {
	return []stroke{{
		text: "redis and kafka killed", hold: s.between(5*time.Second, 7*time.Second), want: all("kafka away, redis away"), alone: true,
		inject: simple(func() error { return errors.Join(s.kafka.Kill(), s.redis.Kill()) }),
		heal:   simple(func() error { return errors.Join(s.redis.Start(), s.kafka.Start()) }),
	}}
}

// groupRebalance has a third node join and leave, in order or by force.
func groupRebalance(s *scene) []stroke {
	leave := syscall.SIGTERM
	if s.IntN(2) == 0 {
		leave = syscall.SIGKILL
	}
	return []stroke{{
		text: "a third node joins, leaves by " + leave.String(), hold: s.between(2*time.Second, 4*time.Second), want: all(ready), inject: simple(s.guest.Start),
		heal: func(context.Context) error {
			if leave == syscall.SIGKILL {
				s.guest.Stop(leave)
			} else {
				s.terminate(s.guest)
			}
			return nil
		},
	}}
}

// pause waits, if ctx lets it.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// judgedBy are all invariants that a history of the class must show.
func (c class) judgedBy() []string { return slices.Concat(everywhere, c.judged) }
