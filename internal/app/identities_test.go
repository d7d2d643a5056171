package app

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
)

// authStub answers in the place of an auth that is somewhere else.
type authStub struct {
	authpb.AuthClient

	mu    sync.Mutex // guards what follows
	jwks  []byte
	down  bool
	asked int
	log   *authpb.RevocationsResponse
	after []int64 // positions that were asked from
}

func (s *authStub) Keys(context.Context, *authpb.KeysRequest, ...grpc.CallOption) (*authpb.KeysResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.down {
		return nil, fault.New(fault.CodeUnavailable, "")
	}
	return &authpb.KeysResponse{Jwks: s.jwks}, nil
}

func (s *authStub) Revocations(ctx context.Context, in *authpb.RevocationsRequest, _ ...grpc.CallOption) (*authpb.RevocationsResponse, error) {
	s.mu.Lock()
	s.after = append(s.after, in.GetAfter())
	down, log := s.down, s.log
	s.mu.Unlock()
	if down {
		return nil, fault.New(fault.CodeUnavailable, "")
	}
	if log.GetLast() == in.GetAfter() {
		select {
		case <-time.After(time.Duration(in.GetWaitMs()) * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down { // meanwhile
		return nil, fault.New(fault.CodeUnavailable, "")
	}
	return log, nil
}

func (s *authStub) set(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *authStub) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// pass lets virtual time pass and everybody do what is due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func jwksOf(t *testing.T, kid string) []byte {
	t.Helper()
	keys := token.NewKeys()
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if err := keys.Set(map[string]ed25519.PublicKey{kid: private.Public().(ed25519.PublicKey)}); err != nil {
		t.Fatal(err)
	}
	return keys.JWKS()
}

// following runs fn beside a follower, in virtual time.
func following(t *testing.T, start func(a *App, ctx context.Context, s *authStub), fn func(a *App, s *authStub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o, err := obs.New(obs.Config{Out: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		a := &App{obs: o, keys: token.NewKeys(), revocations: token.NewRevocations()}
		s := &authStub{jwks: jwksOf(t, "first"), log: &authpb.RevocationsResponse{}}
		ctx, cancel := context.WithCancel(t.Context())
		go start(a, ctx, s)
		synctest.Wait()
		fn(a, s)
		cancel()
		synctest.Wait()
	})
}

func (a *App) knows(kid string) bool { return strings.Contains(string(a.keys.JWKS()), `"`+kid+`"`) }

func TestVerifiersAreFollowed(t *testing.T) {
	start := func(a *App, ctx context.Context, s *authStub) { a.followVerifiers(ctx, s) }
	following(t, start, func(a *App, s *authStub) {
		pass(verifiersEvery + time.Second)
		if !a.knows("first") {
			t.Fatal("not asked within a minute")
		}
		s.set(func() { s.down = true })
		pass(2 * verifiersEvery)
		if !a.knows("first") {
			t.Error("what was known is gone while auth is away")
		}
		s.set(func() { s.down, s.jwks = false, jwksOf(t, "second") })
		pass(2 * verifiersEvery)
		if !a.knows("second") || a.knows("first") {
			t.Error("the set was not replaced")
		}
	})
}

func TestAnUnknownKidIsAskedForSoonButNotOften(t *testing.T) {
	start := func(a *App, ctx context.Context, s *authStub) { a.followVerifiers(ctx, s) }
	following(t, start, func(a *App, s *authStub) {
		v := token.NewVerifier(a.obs, a.keys, a.revocations)
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","typ":"at+jwt","kid":"made-up"}`))
		for range 100 { // over ten seconds
			if _, err := v.Verify(t.Context(), header+".e30."+base64.RawURLEncoding.EncodeToString(make([]byte, 64))); err == nil {
				t.Fatal("accepted")
			}
			synctest.Wait()
			if s.calls() == 0 {
				t.Fatal("not asked at once")
			}
			pass(100 * time.Millisecond)
		}
		if s.calls() > 3 {
			t.Errorf("asked %d times within ten seconds", s.calls())
		}
	})
}

func TestRevocationsAreFollowedAgainSoon(t *testing.T) {
	start := func(a *App, ctx context.Context, s *authStub) { a.followRevocations(ctx, s, 0) }
	following(t, start, func(a *App, s *authStub) {
		s.set(func() { s.down = true })
		pass(revocationWait + 10*time.Second)
		if d := a.revocations.Silence(); d < 10*time.Second {
			t.Errorf("silent for %v, said to be", d)
		}
		s.set(func() { s.down = false })
		s.set(func() {
			s.log = &authpb.RevocationsResponse{Last: 7, Items: []*authpb.Revocation{{Pos: 7, SessionId: "s", UntilMs: time.Now().Add(time.Hour).UnixMilli()}}}
		})
		pass(revocationRest)
		synctest.Wait()
		if a.revocations.Silence() != 0 || !a.revocations.Has("s") {
			t.Error("auth is back, and nobody asked")
		}
		s.set(func() { s.log = &authpb.RevocationsResponse{Last: 2} }) // a database from a backup
		pass(3 * revocationWait)
		s.mu.Lock()
		defer s.mu.Unlock()
		if last := s.after[len(s.after)-1]; last != 2 {
			t.Errorf("asked from %d of a log that ends at 2", last)
		}
	})
}

func TestAuthMayStartLater(t *testing.T) {
	var ready atomic.Bool
	start := func(a *App, ctx context.Context, s *authStub) {
		s.set(func() { s.down = true })
		err := a.patiently(ctx, "auth", "rpc", func() error { return a.takeVerifiers(ctx, s) })
		ready.Store(err == nil)
	}
	following(t, start, func(a *App, s *authStub) {
		pass(time.Minute)
		if n := s.calls(); ready.Load() || n < 5 || n > 60 {
			t.Errorf("ready %v, asked %d times within a minute", ready.Load(), n)
		}
		s.set(func() { s.down = false })
		pass(10 * time.Second)
		if !ready.Load() || !a.knows("first") {
			t.Error("still waiting, though auth is there")
		}
		s.set(func() { s.down = true })
		asked := s.calls()
		want := fault.New(fault.CodeInternal, "")
		if err := a.patiently(t.Context(), "auth", "rpc", func() error { return want }); !errors.Is(err, want) || s.calls() != asked {
			t.Errorf("waited for what waiting does not mend: %v", err)
		}
	})
}

func TestAWrongSealIsAWrongSetting(t *testing.T) {
	cfg := config.Default()
	cfg.DataDir, cfg.ListenPublic, cfg.ListenAdmin = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	start := func(seal byte) error {
		cfg.Seal = obs.NewSecret(base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(seal), 32))))
		a, err := New(t.Context(), Options{Config: cfg})
		if err != nil {
			return err
		}
		return errors.Join(a.Start(t.Context()), a.abandon())
	}
	if err := start('a'); err != nil {
		t.Fatal(err)
	}
	err := start('b')
	bad, ok := errors.AsType[*config.Error](err)
	if !ok || len(bad.Problems) != 1 || bad.Problems[0].Setting != "seal" || strings.Contains(err.Error(), cfg.Seal.Reveal()) {
		t.Errorf("%v", err)
	}
}
