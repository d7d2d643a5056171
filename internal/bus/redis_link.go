package bus

import (
	"context"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// connected notes how the last attempt to reach Redis ended, and tells the log
// when that is something new.
func (r *Redis) connected(ctx context.Context, err error) {
	now := &linkState{since: time.Now()}
	if err != nil {
		now.reason = redisAway
		if redisAnswered(err) || redisRefusal(err) != nil {
			now.reason = redisRefuses
		}
	}
	before := r.link.Load()
	if before != nil && before.reason == now.reason {
		return
	}
	r.link.Store(now)
	switch {
	case err != nil:
		attrs := []slog.Attr{slog.String("setting", redisSetting), slog.String("stream", r.stream), slog.String("reason", now.reason), obs.Cause(err)}
		if s := redisRefusal(err); s != nil {
			attrs = append(attrs, slog.String("remedy", s.Detail))
		}
		r.log.LogAttrs(ctx, slog.LevelWarn, "the fan-out between nodes is down; trying again", attrs...)
	case before != nil:
		r.log.LogAttrs(ctx, slog.LevelInfo, "the fan-out between nodes is back", slog.String("stream", r.stream), slog.String("was", before.reason), slog.Duration("after", now.since.Sub(before.since)))
	}
}

// up says whether Redis answered when it was asked last.
func (r *Redis) up() bool { return r.link.Load().reason == "" }
