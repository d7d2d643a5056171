package bus

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// TypeGap is the type of an envelope that an implementation of Fanout makes
// itself: what was published before it may be missing here. It has no position,
// no key and no payload. Nobody publishes it.
const TypeGap = "bus.gap"

// readCount is how many entries one read gives at most.
const readCount = 256

// redisReader follows the stream with a cursor of its own, over one connection.
// Everything but wanted, late and wake belongs to its goroutine.
type redisReader struct {
	*Redis
	client *redis.Client
	cursor cursor
	text   []byte // scratch
	batch  []Envelope

	wake  chan struct{} // has room for one
	begun sync.Once
	ready chan struct{} // closed when the cursor has its first place

	mu     sync.Mutex // guards what follows
	wanted bool       // somebody has subscribed
	late   bool       // somebody did not wait until the cursor had its place
}

func newRedisReader(r *Redis, c *redis.Client) *redisReader {
	return &redisReader{Redis: r, client: c, wake: make(chan struct{}, 1), ready: make(chan struct{})}
}

// begin has the reader follow the stream from its end, and waits until it has
// found that.
func (r *redisReader) begin() {
	r.mu.Lock()
	r.wanted = true
	r.mu.Unlock()
	if r.up() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
		t := time.NewTimer(answerTime)
		defer t.Stop()
		select {
		case <-r.ready:
			return
		case <-t.C:
		}
	}
	r.mu.Lock()
	r.late = true
	r.mu.Unlock()
}

// demand is whether somebody has subscribed, and, once, whether somebody may
// have missed something.
func (r *redisReader) demand() (wanted, late bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted, late = r.wanted, r.late
	r.late = false
	return wanted, late
}

// start runs the reader until the group stops it. Then its connection is closed,
// since a read that waits does not see that its context has ended.
func (r *redisReader) start(g *run.Group) {
	const name = "bus.redis reader"
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	g.Go(ctx, name, func(context.Context) {
		defer close(done)
		r.run(ctx)
	})
	g.OnStop(name, stopTime, func(stop context.Context) error {
		cancel()
		_ = r.client.Close()
		select {
		case <-done:
			return nil
		case <-stop.Done():
			return fmt.Errorf("%s did not end: %w", name, context.Cause(stop))
		}
	})
}

// run reads until ctx ends, over as many connections as it takes.
func (r *redisReader) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		r.connected(ctx, err)
		r.nap(ctx, retryTime/2+rand.N(retryTime/2))
	}
}

// session reads over one connection until that fails.
func (r *redisReader) session(ctx context.Context) error {
	conn := r.client.EphemeralConn()
	defer func() { _ = conn.Close() }()
	if mutant.StreamFromEnd {
		r.cursor.placed = false
	}
	for ctx.Err() == nil {
		if err := r.check(ctx, conn); err != nil {
			return err
		}
		r.connected(ctx, nil)
		if err := r.follow(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

// follow reads until it is time for the next check.
func (r *redisReader) follow(ctx context.Context, conn *redis.Conn) error {
	next := time.Now().Add(blockTime)
	if !r.cursor.placed {
		r.nap(ctx, blockTime)
		return nil
	}
	for time.Now().Before(next) && ctx.Err() == nil {
		if err := r.read(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

func (r *redisReader) nap(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.wake:
	case <-ctx.Done():
	}
}

// check finds out whether what the cursor points to is still there, and gives
// the cursor its first place once somebody wants it.
func (r *redisReader) check(ctx context.Context, conn *redis.Conn) error {
	b, err := r.bounds(ctx, conn)
	if err != nil {
		return err
	}
	wanted, gap := r.demand()
	if !wanted {
		return nil
	}
	if !r.cursor.placed {
		r.cursor.place(b)
		r.begun.Do(func() { close(r.ready) })
	} else if r.cursor.lost(b) {
		gap = true
	}
	if gap {
		r.tellGap(ctx)
	}
	return nil
}

// tellGap says to the subscribers that something may be missing here.
func (r *redisReader) tellGap(ctx context.Context) {
	e := Envelope{ID: id.New(), Type: TypeGap, At: time.Now(), Correlation: obs.NewCorrelation()}
	ctx = obs.WithCorrelation(ctx, e.Correlation)
	r.log.LogAttrs(ctx, slog.LevelWarn, "the fan-out between nodes may have a gap", slog.String("stream", r.stream), slog.String("from", r.cursor.at.String()))
	r.hand([]Envelope{e})
}

// read waits for entries, at most blockTime, and hands them out.
func (r *redisReader) read(ctx context.Context, conn *redis.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, blockTime+graceTime)
	defer cancel()
	cmd := redis.NewRawCmd(ctx, "xread", "count", readCount, "block", blockTime.Milliseconds(), "streams", r.stream, r.cursor.at.String())
	if err := conn.Process(ctx, cmd); err != nil {
		return err
	}
	raw := cmd.Val()
	if len(raw) > 0 && raw[0] == '-' { // raw answers have their errors within
		return serverError(bytes.TrimSpace(raw[1:]))
	}
	return r.take(ctx, raw)
}

// hand gives a batch to the subscribers of this node.
func (r *redisReader) hand(batch []Envelope) {
	for _, s := range *r.local.subs.Load() {
		if len(batch) > 0 {
			r.local.call(s, batch)
		}
	}
}

// count notes what of one read was not handed out.
func (r *redisReader) count(ctx context.Context, reason obs.BusReason, n int) {
	if n == 0 {
		return
	}
	r.obs.Metrics.EventFailures.Add(reason, n)
	r.log.LogAttrs(ctx, slog.LevelWarn, "entries of the fan-out were passed over", slog.String("reason", reason.String()),
		slog.Int("entries", n), slog.String("up_to", r.cursor.at.String()))
}
