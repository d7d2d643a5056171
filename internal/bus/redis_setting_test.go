package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/servers"
)

const canary = "hunter2-canary"

// rights are all that a user of Redis needs; the documentation has the same line.
const rights = "resetkeys ~nova:* resetchannels -@all +xadd +xread +xinfo|stream +multi +exec +client|setname +select"

func wantWrong(t *testing.T, cfg bus.RedisConfig, detail string) {
	t.Helper()
	n := newNode(t)
	_, err := bus.NewRedis(context.Background(), n.obs, n.group, cfg)
	var wrong *bus.SettingError
	if !errors.As(err, &wrong) || wrong.Setting != "redis" || !strings.HasPrefix(err.Error(), "redis: ") || !strings.Contains(wrong.Detail, detail) {
		t.Errorf("got %v, want the setting redis and %q", err, detail)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("the error shows the address: %v", err)
	}
}

func TestUnreadableAddressesAreRefused(t *testing.T) {
	for _, bad := range []string{
		"", "redis", "redis://", "localhost:6379", "http://" + canary + "@h:1", "unix:///run/redis", "redis://h:port",
		"redis://:" + canary + "@h:1/zero", "redis://:" + canary + "@h:1/0?skip_verify=true", "redis://:" + canary + "@h:1/0?dial_timeout=9s", "redis://h:1/1/2", "redis://h:1#x", "redis://" + canary + ":%zz@h:1",
	} {
		wantWrong(t, at(bad), "must")
	}
	cfg := at("redis://h:1")
	cfg.TLS = &tls.Config{}
	wantWrong(t, cfg, "rediss://")
}

func TestWrongLoginsAreRefused(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	ctx, c, host := context.Background(), raw(t, s.URL), s.Addr
	for _, user := range [][]any{
		{"ACL", "SETUSER", "full", "on", ">" + canary, "allkeys", "+@all"},
		{"ACL", "SETUSER", "reads", "on", ">" + canary, "allkeys", "-@all", "+xinfo", "+multi", "+exec"},
		{"ACL", "SETUSER", "elsewhere", "on", ">" + canary, "~other:*", "+@all"},
		append([]any{"ACL", "SETUSER", "least", "on", ">" + canary}, fields(rights)...),
	} {
		if err := c.Do(ctx, user...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Set(ctx, "text:fanout", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	wantWrong(t, at("redis://full:"+canary+"x@"+host), "refuses this user")
	wantWrong(t, at("redis://nobody:"+canary+"@"+host), "refuses this user")
	wantWrong(t, at("redis://reads:"+canary+"@"+host), "lacks a right")
	wantWrong(t, at("redis://elsewhere:"+canary+"@"+host), "lacks a right")
	wantWrong(t, at("redis://full:"+canary+"@"+host+"/9999"), "no database")
	text := at("redis://full:" + canary + "@" + host)
	text.Stream = "text"
	wantWrong(t, text, "is no stream")

	least := at("redis://least:" + canary + "@" + host + "/1")
	least.Node = "node 1"
	n := newRedisNode(t, least)
	got := n.subscribe()
	n.relay(events(1, 3)...)
	got.want(1, 3)

	if err := c.Do(ctx, "ACL", "SETUSER", "default", "off").Err(); err != nil {
		t.Fatal(err)
	}
	wantWrong(t, at("redis://"+host), "wants a user")
}

func fields(s string) (list []any) {
	for f := range strings.FieldsSeq(s) {
		list = append(list, f)
	}
	return list
}

// A login that is taken away later does not end the process; the log says what
// to do, once.
func TestALoginThatIsTakenAway(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	ctx, c := context.Background(), raw(t, s.URL)
	set := func(rules ...any) {
		if err := c.Do(ctx, append([]any{"ACL", "SETUSER", "nova"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("on", ">"+canary, "allkeys", "+@all")
	n := newRedisNode(t, at("redis://nova:"+canary+"@"+s.Addr))
	got := n.subscribe()
	n.relay(event(1))
	got.want(1, 1)
	set("off")
	if err := c.Do(ctx, "CLIENT", "KILL", "USER", "nova").Err(); err != nil {
		t.Fatal(err)
	}
	n.state("redis refuses")
	set("on")
	n.state("")
	n.relay(event(2))
	got.want(2, 2)
	lines := n.log.lines(t, "the fan-out between nodes is down; trying again")
	last := lines[len(lines)-1]
	if last["setting"] != "redis" || last["reason"] != "redis refuses" || !strings.Contains(last["remedy"].(string), "refuses this user") {
		t.Errorf("log: %v", last)
	}
	if logHas(n.log, canary) {
		t.Error("the log shows the address")
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	authority := selfSigned(t, dir)
	tlsPort := tlsServer(t, servers.StartRedis(t, servers.RedisOptions{}), dir)
	trusting := bus.RedisConfig{URL: obs.NewSecret("rediss://127.0.0.1:" + tlsPort), TLS: &tls.Config{RootCAs: authority}}
	n := newRedisNode(t, trusting)
	got := n.subscribe()
	n.relay(events(1, 3)...)
	got.want(1, 3)
	wantWrong(t, at("rediss://127.0.0.1:"+tlsPort), "not trusted")
	other := trusting
	other.URL = obs.NewSecret("rediss://localhost:" + tlsPort)
	wantWrong(t, other, "another host")
	wantWrong(t, at("rediss://"+plainServer(t)), "does not speak TLS")
}

// plainServer answers every connection with something that is not TLS.
func plainServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			_, _ = c.Write([]byte("-ERR what is this\r\n"))
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); done.Wait() })
	return l.Addr().String()
}

// tlsServer gives a server that runs already a port with TLS.
func tlsServer(t *testing.T, s *servers.RedisServer, dir string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	err = raw(t, s.URL).Do(context.Background(), "CONFIG", "SET", "tls-cert-file", filepath.Join(dir, "cert.pem"), "tls-key-file", filepath.Join(dir, "key.pem"),
		"tls-auth-clients", "no", "tls-port", port).Err()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// selfSigned writes a certificate for 127.0.0.1 and returns who trusts it.
func selfSigned(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return pool
}

func logHas(b *logBuffer, text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.buf.String(), text)
}
