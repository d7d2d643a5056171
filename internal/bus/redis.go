package bus

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// RedisConfig says where the stream of the fan-out is and how much it holds.
type RedisConfig struct {
	URL    obs.Secret    // redis:// or rediss://, with user and database where there are any
	TLS    *tls.Config   // for rediss://; nil = the system's authorities
	Stream string        // prefix of the stream's name; "" = "nova"
	Name   string        // the rest of it; "" = "fanout"
	Node   string        // this node's name in CLIENT LIST; may be ""
	Length int64         // about how many entries the stream keeps; 0 = 100,000
	Epoch  func() string // of the store whose positions travel; nil or "" = not known (yet)
}

// What a Redis can be degraded by.
const (
	redisAway    = "redis away"    // no connection, or no answer in time
	redisRefuses = "redis refuses" // it answers, and does not do what it is asked to
)

const (
	defaultStream = "nova"
	defaultName   = "fanout"
	defaultLength = 100_000

	// answerTime is how long Redis may take for an answer, and for a connection.
	answerTime = time.Second
	// blockTime is how long one read waits for entries, and the time between two
	// checks. With graceTime it is what it takes to notice a silent server.
	blockTime = 500 * time.Millisecond
	graceTime = 500 * time.Millisecond
	// retryTime is the wait between two attempts to connect: short and without
	// growth, since readiness has to tell within 2 s that Redis is back.
	retryTime = 250 * time.Millisecond
)

// Redis is the fan-out between the nodes of a deployment, over one Redis stream.
//
// It guarantees what [Fanout] asks for with these limits: what a node missed
// while Redis was away, emptied or trimmed is not repeated by the stream, and a
// subscriber is told so by an envelope of [TypeGap] as soon as it is noticed,
// at most about a second after Redis answers again. After Redis lost data a
// subscriber may see old envelopes again, hints among them.
type Redis struct {
	obs    *obs.Obs
	log    *slog.Logger
	cfg    RedisConfig
	stream string
	local  *memoryFanout // the subscribers of this node
	writer *redisWriter
	reader *redisReader

	link    atomic.Pointer[linkState]
	refused atomic.Bool // the last write that was answered was refused
}

// linkState is whether Redis answers, as the reader last saw it.
type linkState struct {
	reason string // "" if it does
	since  time.Time
}

// NewRedis connects to Redis. It waits at most a second: a server that cannot be
// reached is tried again in the background for as long as the process runs. One
// that answers and refuses (wrong login, no permission, untrusted certificate)
// and an address that cannot be read are a [*SettingError].
func NewRedis(ctx context.Context, o *obs.Obs, g *run.Group, cfg RedisConfig) (*Redis, error) {
	opt, err := redisOptions(&cfg)
	if err != nil {
		return nil, err
	}
	logging.Disable() // the library would write addresses to stderr, past every redaction
	r := &Redis{obs: o, log: o.Log(obs.Process), cfg: cfg, stream: cfg.Stream + ":" + cfg.Name, local: newMemoryFanout(o)}
	r.writer = newRedisWriter(r, redis.NewClient(opt))
	r.reader = newRedisReader(r, redis.NewClient(opt))
	err = r.first(ctx)
	if wrong := redisRefusal(err); wrong != nil {
		_, _ = r.reader.client.Close(), r.writer.client.Close()
		return nil, wrong
	}
	r.connected(ctx, err)
	g.Worker("bus.redis writer", stopTime, r.writer.run)
	r.reader.start(g)
	return r, nil
}

// first is one attempt to reach Redis and to learn what it would refuse.
func (r *Redis) first(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := r.reader.bounds(ctx, r.reader.client); err != nil {
		return err
	}
	return r.writer.probe(ctx)
}

// Fanout is the road to every node.
func (r *Redis) Fanout() Fanout { return r }

// Degraded says why the fan-out does not work, "" if it does: "redis away" or
// "redis refuses". Sends succeed all the same.
func (r *Redis) Degraded() string {
	if s := r.link.Load(); s.reason != "" {
		return s.reason
	}
	if r.refused.Load() {
		return redisRefuses
	}
	return ""
}

// Subscribe is part of Fanout. It waits until Redis has told where the stream
// ends, at most a second, and not at all while Redis is away: then it begins
// where the stream ends when Redis is back, with a gap.
func (r *Redis) Subscribe(name string, h func(context.Context, []Envelope)) (cancel func()) {
	cancel = r.local.Subscribe(name, h)
	r.reader.begin()
	return cancel
}

// Publish is part of Fanout. A batch with positions is in the stream when it
// returns nil, whole and in order; it fails within about a second, and at once
// while Redis is away. Hints are only queued, so that a socket never waits for
// Redis: what becomes of them is counted. An envelope that is too large for the
// stream is left out and counted; the database has it.
func (r *Redis) Publish(ctx context.Context, batch []Envelope) error {
	if err := validate(batch); err != nil {
		return err
	}
	return r.writer.publish(ctx, batch)
}

func (r *Redis) epoch() string {
	if r.cfg.Epoch == nil {
		return ""
	}
	return r.cfg.Epoch()
}
