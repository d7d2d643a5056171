package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/rpc"
)

// hearing is what this process knows of how well it hears of sessions that end
// elsewhere. There are two roads: auth's log, by a long poll, and the word of
// the process that ended it, over Redis. The log has everything; when a word may
// have been lost, only the log says what it was.
type hearing struct {
	redis func() string // what is wrong with Redis, "" if nothing; nil = there is none

	mu   sync.Mutex // guards what follows
	log  bool       // the last poll was answered
	at   time.Time  // when
	lost bool       // since then, a word may have been lost
}

// heardLog notes how a poll of the log ended.
func (a *App) heardLog(ctx context.Context, err error) {
	a.hearing.mu.Lock()
	before := a.hearing.log
	if a.hearing.log = err == nil; a.hearing.log {
		a.hearing.at, a.hearing.lost = time.Now(), false
	}
	a.hearing.mu.Unlock()
	a.judgeHearing()
	switch {
	case before && err != nil:
		a.obs.Log(obs.Process).LogAttrs(ctx, slog.LevelWarn, "auth's log of ended sessions does not answer", obs.Cause(err))
	case !before && err == nil:
		a.obs.Log(obs.Process).LogAttrs(ctx, slog.LevelInfo, "auth's log of ended sessions answers")
	}
}

// judgeHearing says whether one of the roads will do.
func (a *App) judgeHearing() {
	h := &a.hearing
	h.mu.Lock()
	defer h.mu.Unlock()
	word := h.redis != nil && h.redis() == ""
	h.lost = h.lost || !word
	switch {
	case h.log:
		a.revocations.Heard(h.at)
	case !h.lost:
		a.revocations.Heard(time.Now())
	default:
		a.revocations.Unheard()
	}
}

// wordLost notes that the word of a session's end may not have come here.
func (a *App) wordLost() {
	a.hearing.mu.Lock()
	a.hearing.lost = true
	a.hearing.mu.Unlock()
	a.judgeHearing()
}

// deaf is why readiness is degraded when neither road works.
func (a *App) deaf() string {
	if a.revocations.Silence() > 0 {
		return "ended sessions unheard of"
	}
	return ""
}

// authAway is why readiness is degraded while auth runs elsewhere and does not
// answer.
func (a *App) authAway() string {
	a.hearing.mu.Lock()
	defer a.hearing.mu.Unlock()
	if a.hearing.log || a.cfg.Local(obs.Auth) {
		return ""
	}
	return "auth away"
}

const hearingEvery = 250 * time.Millisecond

// watchHearing notices when Redis goes, since nobody else tells.
func (a *App) watchHearing(ctx context.Context) {
	t := time.NewTicker(hearingEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			a.judgeHearing()
		}
	}
}

// typeEnded is the type of what processes tell each other of a session that has
// ended.
const typeEnded = "session.ended"

type ended struct {
	Session string `json:"session"`
	UntilMS int64  `json:"until_ms"`
}

// teller is what auth tells others by.
func (a *App) teller() func(ctx context.Context, session string, until time.Time) {
	if a.control == nil || mutant.RevokeOneNode {
		return nil
	}
	return a.tellEnded
}

// tellEnded tells other processes that a session has ended. Whom it does not
// reach reads it in the log.
func (a *App) tellEnded(ctx context.Context, session string, until time.Time) {
	payload, err := json.Marshal(ended{session, until.UnixMilli()})
	if err == nil {
		err = a.control.Fanout().Publish(context.WithoutCancel(ctx), []bus.Envelope{{
			ID: id.New(), Type: typeEnded, At: time.Now(), Correlation: obs.CorrelationFrom(ctx), Payload: payload,
		}})
	}
	if err != nil {
		a.obs.Metrics.EventFailures.Inc(obs.BusUnavailable)
		a.obs.Log(obs.Auth).LogAttrs(ctx, slog.LevelWarn, "other processes were not told that a session ended; they read it in the log", obs.Cause(err))
	}
}

// hearEnded takes what another process tells.
func (a *App) hearEnded(ctx context.Context, e *bus.Envelope) {
	var x ended
	if err := json.Unmarshal(e.Payload, &x); err != nil {
		a.unreadable(ctx, e, err)
		return
	}
	a.revocations.Revoke(x.Session, time.UnixMilli(x.UntilMS))
}

// allRevocations takes what there is; one call gives a bounded number.
func (a *App) allRevocations(ctx context.Context, client authpb.AuthClient) (after int64, err error) {
	for {
		last, err := a.takeRevocations(ctx, client, after, 0)
		if err != nil || last == after {
			return after, err
		}
		after = last
	}
}

const (
	// revocationWait is how long one call waits for news. It is short, since a
	// server that is gone without a word is noticed only when the call is over.
	revocationWait = 5 * time.Second
	// revocationGrace is how much longer a call may take.
	revocationGrace = 2 * time.Second
	// revocationRest is how long a follower rests after a call that failed. It is
	// short, since what ends meanwhile elsewhere goes on here.
	revocationRest = 500 * time.Millisecond
)

// followRevocations asks for news again and again. After a call that failed the
// next one does not wait for any: that auth answers again is news enough.
func (a *App) followRevocations(ctx context.Context, client authpb.AuthClient, after int64) {
	for patience := revocationWait; ctx.Err() == nil; {
		cause := obs.WithCorrelation(ctx, obs.NewCorrelation())
		last, err := a.takeRevocations(cause, client, after, patience)
		if ctx.Err() != nil {
			return
		}
		a.heardLog(cause, err)
		if err == nil {
			after, patience = last, revocationWait
			continue
		}
		patience = 0
		_ = wait(ctx, revocationRest) // the loop sees that ctx ended
	}
}

func (a *App) takeRevocations(ctx context.Context, client authpb.AuthClient, after int64, wait time.Duration) (last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait+revocationGrace)
	defer cancel()
	res, err := client.Revocations(ctx, &authpb.RevocationsRequest{After: after, WaitMs: wait.Milliseconds()}, rpc.LongPoll())
	if err != nil {
		return after, err
	}
	for _, r := range res.GetItems() {
		a.revocations.Revoke(r.GetSessionId(), time.UnixMilli(r.GetUntilMs()))
	}
	return res.GetLast(), nil // lower than before only if the database went back
}
