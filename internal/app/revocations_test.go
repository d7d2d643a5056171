package app

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// TestEitherRoadWillDo: the set is silent only when neither the log nor Redis
// brings word, and Redis counts again only when the log was read after a word
// may have been lost.
func TestEitherRoadWillDo(t *testing.T) {
	var away atomic.Bool
	start := func(a *App, ctx context.Context, s *authStub) {
		a.hearing.redis = func() string {
			if away.Load() {
				return "redis away"
			}
			return ""
		}
		go a.watchHearing(ctx)
		a.followRevocations(ctx, s, 0)
	}
	following(t, start, func(a *App, s *authStub) {
		want := func(step string, deaf bool) {
			t.Helper()
			if got := a.revocations.Silence() > 0; got != deaf || (a.deaf() != "") != deaf {
				t.Errorf("%s: silent %v, want %v", step, got, deaf)
			}
		}
		log := func(down bool) {
			s.set(func() { s.down = down })
			pass(2 * revocationWait)
		}
		pass(time.Second)
		want("both", false)
		log(true)
		want("Redis alone", false)
		away.Store(true)
		pass(time.Second)
		want("neither", true)
		away.Store(false)
		pass(time.Second)
		want("Redis is back, what it said meanwhile is not known", true)
		log(false)
		want("the log", false)
		a.wordLost()
		want("a gap in Redis", false)
		log(true)
		want("without the log nobody knows what was in the gap", true)
		log(false)
		log(true)
		want("the log was read after the gap", false)
		away.Store(true)
		pass(time.Second)
		want("neither again", true)
		s.set(func() { s.down = false })
		pass(time.Second)
		want("the log answers again, and there is no news", false)
	})
}
