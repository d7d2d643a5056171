package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// refusals reads the counter of one reason.
func refusals(t *testing.T, o *obs.Obs, r obs.PeerReason) string {
	t.Helper()
	return series(t, o, `rpc_peer_refusals_total{reason="`+r.String()+`"}`)
}

// awaitRefusal waits until one more is counted: the caller may hear of it before.
func awaitRefusal(t *testing.T, o *obs.Obs, r obs.PeerReason, before string) {
	t.Helper()
	for ctx := soon(t); refusals(t, o, r) == before; runtime.Gosched() {
		if ctx.Err() != nil {
			t.Fatalf("%s was not counted", r)
		}
	}
}

func TestCertificatesThatDoNotHoldAreRefused(t *testing.T) {
	f, other := newFolder(t), newFolder(t)
	ours := func(all ...obs.Service) certs.Files { return f.files(t, 100*time.Hour, all...) }
	mixed := func(identity, trusted certs.Files) *tls.Config { // what a Source would not even start with
		r := newRig(t)
		s := source(t, r.obs, r.group, identity)
		cfg := s.Client(obs.Auth)
		cfg.RootCAs = source(t, r.obs, r.group, trusted).Client(obs.Auth).RootCAs
		return cfg
	}
	r := newRig(t)
	r.answer(func(context.Context, *authpb.AccountsRequest) error { return nil })
	addr := r.listenWith(t, source(t, r.obs, r.group, ours(obs.Auth)))
	none := mixed(ours(obs.User), ours(obs.User))
	none.GetClientCertificate = nil
	for name, c := range map[string]struct {
		caller *tls.Config
		reason obs.PeerReason
	}{
		"no certificate":    {none, obs.PeerNoCertificate},
		"another authority": {mixed(other.files(t, time.Hour, obs.User), ours(obs.User)), obs.PeerUnknownAuthority},
		"wrong name":        {showing(t, filepath.Join(f.Dir, "authority.pem"), mixed(ours(obs.User), ours(obs.User))), obs.PeerWrongName},
		"expired":           {showing(t, f.files(t, -time.Minute, obs.User).Identity, mixed(ours(obs.User), ours(obs.User))), obs.PeerExpired},
	} {
		before := refusals(t, r.obs, c.reason)
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(c.caller)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := authpb.NewAuthClient(conn).Accounts(soon(t), &authpb.AccountsRequest{}); err == nil {
			t.Errorf("%s was served", name)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		awaitRefusal(t, r.obs, c.reason, before)
		if !strings.Contains(r.log.String(), `"reason":"`+c.reason.String()+`"`) {
			t.Errorf("%s was not logged", name)
		}
	}
}

// showing is cfg with another certificate: the authority's own, which names no
// service, or one that has ended.
func showing(t *testing.T, path string, cfg *tls.Config) *tls.Config {
	t.Helper()
	own, err := tls.LoadX509KeyPair(path, path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	return cfg
}

func TestACalledProcessThatIsNotWhatItShouldBeIsRefused(t *testing.T) {
	f, other := newFolder(t), newFolder(t)
	for name, c := range map[string]struct {
		called *folder
		runs   obs.Service
		life   time.Duration
		reason obs.PeerReason
	}{
		"another authority": {other, obs.Auth, time.Hour, obs.PeerUnknownAuthority},
		"another service":   {f, obs.User, time.Hour, obs.PeerWrongName},
		"expired":           {f, obs.Auth, -time.Minute, obs.PeerExpired},
	} {
		t.Run(name, func(t *testing.T) {
			o, g := process(t, nil)
			addr := called(t, c.called.files(t, c.life, c.runs))
			conn := dialFrom(t, o, g, f.open(t, o, g, obs.Messaging), addr)
			if _, err := authpb.NewAuthClient(conn).Accounts(soon(t), &authpb.AccountsRequest{}); !fault.Is(err, fault.CodeUnavailable) {
				t.Errorf("got %v", err)
			}
			if refusals(t, o, c.reason) == "0" {
				t.Error("not counted")
			}
		})
	}
}

// called answers handshakes with the certificate as it is, as a process would
// whose certificate ended while it ran.
func called(t *testing.T, files certs.Files) string {
	t.Helper()
	own, err := tls.LoadX509KeyPair(files.Identity, files.Identity)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestOwnCertificateMustNameWhatIsOffered(t *testing.T) {
	r, f := newRig(t), newFolder(t)
	_, err := r.server.Listen(context.Background(), "127.0.0.1:0", ListenConfig{Certificates: f.open(t, r.obs, r.group, obs.Media)})
	if bad, ok := errors.AsType[*certs.Error](err); !ok || bad.Setting != certs.SettingIdentity {
		t.Errorf("got %v", err)
	}
}

func TestPlainCallersOfATLSListener(t *testing.T) {
	r, f := newRig(t), newFolder(t)
	addr := r.listenWith(t, f.open(t, r.obs, r.group, obs.Auth))
	c, _ := dial(t, addr)
	if _, err := authpb.NewAuthClient(c).Accounts(soon(t), &authpb.AccountsRequest{}); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("got %v", err)
	}
	conn, err := net.Dial("tcp", addr) // a balancer that looks whether the port is open
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	awaitRefusal(t, r.obs, obs.PeerHandshake, "0")
}

// TestRotationUnderTraffic replaces authority and certificates, step by step,
// while calls run over connections that stand and over new ones.
func TestRotationUnderTraffic(t *testing.T) {
	f, r := newFolder(t), newRig(t)
	r.answer(func(context.Context, *authpb.AccountsRequest) error { return nil })
	own := f.open(t, r.obs, r.group, obs.Auth)
	addr := r.listenWith(t, own)
	o, g := process(t, nil)
	theirs := f.open(t, o, g, obs.Messaging)
	old := f.files(t, 100*time.Hour, obs.User)
	stale := source(t, o, g, certs.Files{Identity: old.Identity, Trusted: copyOf(t, old.Trusted)})
	standing := authpb.NewAuthClient(dialFrom(t, o, g, theirs, addr))

	stop, done, calls := make(chan struct{}), make(chan struct{}), atomic.Int64{}
	go func() {
		defer close(done)
		for {
			if _, err := standing.Accounts(soon(t), &authpb.AccountsRequest{}); err != nil {
				t.Errorf("standing connection: %v", err)
				return
			}
			calls.Add(1)
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	traffic := func(step string) {
		t.Helper()
		for _, s := range []*certs.Source{own, theirs} {
			if err := s.Reload(t.Context()); err != nil {
				t.Errorf("%s: %v", step, err)
			}
			if _, err := authpb.NewAuthClient(dialFrom(t, o, g, theirs, addr)).Accounts(soon(t), &authpb.AccountsRequest{}); err != nil {
				t.Errorf("%s: new connection: %v", step, err)
			}
		}
	}
	traffic("before")
	if err := f.RotateAuthority(1000 * time.Hour); err != nil {
		t.Fatal(err)
	}
	traffic("both authorities trusted")
	if _, err := f.Rotate(100 * time.Hour); err != nil {
		t.Fatal(err)
	}
	traffic("certificates of the new one")
	if _, err := f.Retire(); err != nil {
		t.Fatal(err)
	}
	traffic("the new one alone")
	close(stop)
	<-done
	if calls.Load() == 0 {
		t.Error("no traffic")
	}
	if _, err := authpb.NewAuthClient(dialFrom(t, o, g, stale, addr)).Accounts(soon(t), &authpb.AccountsRequest{}); !fault.Is(err, fault.CodeUnavailable) {
		t.Errorf("whoever knows only the old authority: %v", err)
	}
}

func TestCorrelationOnTheWire(t *testing.T) {
	seen := make(chan metadata.MD, 1)
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		seen <- md
		return errNoMethod
	}))
	healthgrpc.RegisterHealthServer(s, health.NewServer())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	c, _ := dial(t, l.Addr().String())
	_, _ = authpb.NewAuthClient(c).Accounts(obs.WithCorrelation(soon(t), "test-123"), &authpb.AccountsRequest{})
	if got := (<-seen).Get("x-correlation-id"); len(got) != 1 || got[0] != "test-123" {
		t.Errorf("metadata: %q", got)
	}
}
