package load_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/load"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// serve starts a whole Nova on cfg and gives a way to stop it.
func serve(t *testing.T, cfg config.Config) (*app.App, func()) {
	t.Helper()
	a, err := app.New(t.Context(), app.Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if l := a.Stop(context.Background()); l.Err != nil {
			t.Errorf("the drain was not clean: %v", l.Err)
		}
	}
	t.Cleanup(stop)
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, stop
}

// wide is a configuration for a test, with limits that are out of the way.
func wide(t *testing.T) config.Config {
	cfg := config.Default()
	cfg.DataDir, cfg.ListenPublic, cfg.ListenAdmin = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	const many = 1_000_000
	for _, r := range []*config.Rate{
		&cfg.Limits.MessagesPerUser, &cfg.Limits.MessagesPerConversation, &cfg.Limits.RequestsPerUser,
		&cfg.Limits.FramesPerSocket, &cfg.Limits.ConnectsPerAddress,
	} {
		r.Count, r.Burst = many, many
	}
	return cfg
}

func seed(t *testing.T, cfg config.Config, users int) (all []load.Session) {
	t.Helper()
	err := app.Seed(t.Context(), app.SeedOptions{Config: cfg, Users: users, Prefix: "load", AccessTTL: time.Hour}, func(u app.SeededUser) error {
		all = append(all, load.Session{UserID: u.UserID, Username: u.Username, DeviceID: u.DeviceID, AccessToken: u.Access})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// put runs a load with a group of its own, none of whose goroutines may be left.
func put(t *testing.T, ctx context.Context, opts load.Options) (load.Result, error) {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	res, err := load.Run(ctx, o, g, opts)
	if r := g.Stop(context.Background()); r.GoroutinesLeft > 0 {
		t.Errorf("goroutines left: %v", r.Left)
	}
	return res, err
}

func TestScenariosAreClean(t *testing.T) {
	cfg := wide(t)
	a, _ := serve(t, cfg)
	sessions := seed(t, cfg, 12)
	for _, opts := range []load.Options{
		{Scenario: load.Direct, Pairs: 3, Window: 4},
		{Scenario: load.Direct, Pairs: 3, Rate: 200},
		{Scenario: load.Group, Members: 12, Senders: 3},
		{Scenario: load.Mixed, Pairs: 3, Members: 6, Senders: 2},
		{Scenario: load.Idle, Conns: 12},
	} {
		t.Run(string(opts.Scenario), func(t *testing.T) {
			opts.Target, opts.Sessions, opts.Verify = a.PublicURL(), sessions, true
			opts.Duration, opts.Warmup = 300*time.Millisecond, 50*time.Millisecond
			res, err := put(t, t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			if bad := res.Verdict(); len(bad) > 0 {
				t.Errorf("not clean: %q\n%s", bad, res)
			}
			l := res.Ledger
			if l.Sent != l.Acked || l.Acked != l.Stored || l.Due != l.Delivered {
				t.Errorf("the ledger does not balance: %+v", l)
			}
			if opts.Scenario != load.Idle && (l.Sent == 0 || res.Ack.Count == 0 || res.Delivery.Count == 0) {
				t.Errorf("nothing was measured: %s", res)
			}
			if _, err := json.Marshal(res); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDevicesComeBackAfterARestart(t *testing.T) {
	cfg := wide(t)
	a, stop := serve(t, cfg)
	cfg.ListenPublic = strings.TrimPrefix(a.PublicURL(), "http://")
	sessions := seed(t, cfg, 6)
	under := make(chan struct{}, 100)
	type outcome struct {
		res load.Result
		err error
	}
	done := make(chan outcome, 1)
	ctx, finish := context.WithCancel(t.Context())
	go func() {
		res, err := put(t, ctx, load.Options{
			Target: a.PublicURL(), Sessions: sessions, Pairs: 3, Window: 2, Duration: time.Minute, Reconnect: true, Verify: true,
			Report: func(p load.Progress) {
				if p.Sends > 0 {
					under <- struct{}{}
				}
			},
		})
		done <- outcome{res, err}
	}()
	<-under
	stop()
	serve(t, cfg)
	for len(under) > 0 {
		<-under
	}
	<-under // sends again
	finish()
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	if bad := got.res.Verdict(); len(bad) > 0 || got.res.Reconnects < 6 || !got.res.Interrupted {
		t.Errorf("verdict %q\n%s", bad, got.res)
	}
	if l := got.res.Ledger; l.Acked != l.Sent || l.Stored != l.Sent || l.Delivered != l.Due || l.Sent == 0 {
		t.Errorf("the ledger does not balance: %+v", l)
	}
}

func TestLimitsAreNamed(t *testing.T) {
	cfg := wide(t)
	cfg.Limits.RegistrationsPerAddress.Count, cfg.Limits.RegistrationsPerAddress.Burst = 2, 2
	cfg.Limits.MessagesPerUser.Count, cfg.Limits.MessagesPerUser.Burst = 5, 5
	a, _ := serve(t, cfg)
	_, err := put(t, t.Context(), load.Options{Target: a.PublicURL(), Pairs: 2})
	limit, ok := errors.AsType[*load.LimitError](err)
	if !ok || limit.Made != 2 || limit.Needed != 4 || !strings.Contains(err.Error(), "nova seed --data-dir DIR --users 4") {
		t.Errorf("got %v", err)
	}
	res, err := put(t, t.Context(), load.Options{
		Target: a.PublicURL(), Sessions: seed(t, cfg, 2), Pairs: 1, Window: 8, Duration: 500 * time.Millisecond, Settle: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Errors["rate_limited"] == 0 || len(res.Verdict()) > 0 || res.Ledger.Sent != res.Ledger.Acked {
		t.Errorf("a limited run is slow, and clean all the same: %s", res)
	}
}

func TestBadOptions(t *testing.T) {
	for name, c := range map[string]struct {
		opts load.Options
		want string
	}{
		"scenario":     {load.Options{Scenario: "storm"}, "direct, group, mixed or idle"},
		"far target":   {load.Options{Target: "http://192.0.2.1:8080"}, "--i-own-this-target"},
		"login in it":  {load.Options{Target: "http://a:b@127.0.0.1"}, "base URL"},
		"path":         {load.Options{Target: "http://127.0.0.1:8080/api"}, "base URL"},
		"scheme":       {load.Options{Target: "ftp://127.0.0.1"}, "base URL"},
		"pairs":        {load.Options{Pairs: -1}, "pairs"},
		"senders":      {load.Options{Scenario: load.Group, Members: 3, Senders: 4}, "senders"},
		"rate":         {load.Options{Rate: -1}, "rate"},
		"window":       {load.Options{Window: -1}, "window"},
		"size":         {load.Options{Size: 10}, "size"},
		"duration":     {load.Options{Duration: -1}, "duration"},
		"few sessions": {load.Options{Pairs: 2, Sessions: make([]load.Session, 3)}, "nova seed --users 4"},
		"nobody there": {load.Options{Target: "http://127.0.0.1:1", Pairs: 1}, "register user 1 of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := put(t, t.Context(), c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestSessionsFile(t *testing.T) {
	got, err := load.ReadSessions(strings.NewReader(`{"user_id":"U","username":"a","device_id":"d","access_token":"A"}` + "\n\n"))
	if err != nil || len(got) != 1 || got[0].AccessToken.Reveal() != "A" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"x", "{}", `{"user_id":"U"}`} {
		if _, err := load.ReadSessions(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q gave %v", bad, err)
		}
	}
}
