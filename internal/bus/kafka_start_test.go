package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/test/servers"
)

const (
	rightPass = "canary-right-7f31c2"
	wrongPass = "canary-wrong-9ab04d"
)

// start makes a bus that is expected to be refused, or not; it stops with the test.
func start(t *testing.T, cfg bus.KafkaConfig) (*bus.Kafka, *logBuffer, error) {
	t.Helper()
	log := &logBuffer{}
	o, err := obs.New(obs.Config{Out: log})
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	t.Cleanup(func() {
		if r := g.Stop(context.Background()); r.Err() != nil || r.GoroutinesLeft != 0 {
			t.Errorf("stop: %+v", r)
		}
	})
	k, err := bus.NewKafka(context.Background(), o, g, cfg)
	return k, log, err
}

// refused wants a definite error that names the setting and shows no secret.
func refused(t *testing.T, err error, detail string) {
	t.Helper()
	var set *bus.SettingError
	if !errors.As(err, &set) {
		t.Fatalf("got %v, want a setting's error", err)
	}
	if set.Setting != "kafka" || !strings.HasPrefix(err.Error(), "kafka: ") || !strings.Contains(err.Error(), detail) {
		t.Errorf("got %q, want kafka: ... %s", err, detail)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("%q shows a secret", err)
	}
}

func TestWrongKafkaSettingsAreRefused(t *testing.T) {
	for detail, cfg := range map[string]bus.KafkaConfig{
		"at least one broker":     {},
		"list of host:port":       {Brokers: []string{"127.0.0.1:9092", "kafka"}},
		"such as kafka-1:9092":    {Brokers: []string{"127.0.0.1:0"}},
		"kafka-2:9092":            {Brokers: []string{":9092"}},
		"knows the logins":        {Brokers: []string{"127.0.0.1:1"}, SASL: "gssapi", User: "u", Pass: obs.NewSecret(rightPass)},
		"needs a user":            {Brokers: []string{"127.0.0.1:1"}, SASL: "plain"},
		"needs TLS for the login": {Brokers: []string{"127.0.0.1:1", "kafka.example:9092"}, SASL: "plain", User: "u", Pass: obs.NewSecret(rightPass)},
	} {
		_, _, err := start(t, cfg)
		refused(t, err, detail)
		refused(t, bus.MigrateKafka(context.Background(), cfg), detail)
	}
}

// secured is a real Kafka that speaks TLS and asks for a login, with the users
// that its settings and the test make.
func secured(t *testing.T) bus.KafkaConfig {
	t.Helper()
	own, roots := certificate(t)
	server := servers.StartKafka(t, servers.KafkaOptions{Protocol: "SASL_SSL", Settings: []string{
		"listener.name.client.ssl.keystore.type=PEM",
		"listener.name.client.ssl.keystore.certificate.chain=" + inProperties(t, "CERTIFICATE", own.Certificates[0].Certificate[0]),
		"listener.name.client.ssl.keystore.key=" + inProperties(t, "PRIVATE KEY", own.Certificates[0].PrivateKey),
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		`listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_nova="` + rightPass + `";`,
		"listener.name.client.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
	}})
	trust := &tls.Config{RootCAs: roots}
	cl := rawKafka(t, server.Brokers, kgo.SASL(plain.Auth{User: "nova", Pass: rightPass}.AsMechanism()), kgo.DialTLSConfig(trust))
	for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		done, err := kadm.NewClient(cl).AlterUserSCRAMs(context.Background(), nil, []kadm.UpsertSCRAM{
			{User: "nova", Mechanism: m, Iterations: 4096, Password: rightPass},
		})
		if err := errors.Join(err, done.Error()); err != nil {
			t.Fatal(err)
		}
	}
	return bus.KafkaConfig{Brokers: server.Brokers, User: "nova", Pass: obs.NewSecret(rightPass), Partitions: 1, TLS: trust}
}

// inProperties is PEM as a line of a file of properties.
func inProperties(t *testing.T, kind string, what any) string {
	t.Helper()
	der, ok := what.([]byte)
	if !ok {
		var err error
		if der, err = x509.MarshalPKCS8PrivateKey(what); err != nil {
			t.Fatal(err)
		}
	}
	return strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), "\n", "\\n")
}

// TestLoginsAreTried over TLS, on a real Kafka.
func TestLoginsAreTried(t *testing.T) {
	base := secured(t)
	for _, sasl := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(sasl, func(t *testing.T) {
			cfg := base
			cfg.SASL = sasl
			soon(t, "the user is known", func() bool { return bus.MigrateKafka(context.Background(), cfg) == nil })
			n, in := newKafkaNode(t, cfg), newOrderly()
			n.bus.Events().Consume(obs.QueueUserEvents, nil, in.take)
			n.publish(sent(sasl, 1, 3)...)
			soon(t, "the events", func() bool { return in.upTo(sasl) == 3 })

			cfg.Pass = obs.NewSecret(wrongPass)
			_, log, err := start(t, cfg)
			refused(t, err, "the login was refused")
			refused(t, bus.MigrateKafka(context.Background(), cfg), "the login was refused")
			if strings.Contains(log.buf.String(), "canary") {
				t.Error("the log shows a secret")
			}
		})
	}
	t.Run("another authority", func(t *testing.T) {
		cfg := base
		cfg.SASL, cfg.TLS = "scram-sha-512", &tls.Config{RootCAs: x509.NewCertPool()}
		_, _, err := start(t, cfg)
		refused(t, err, "certificate of a broker is not trusted")
	})
	t.Run("no TLS", func(t *testing.T) { // the broker hangs up: that may pass
		cfg := base
		cfg.SASL, cfg.TLS = "scram-sha-512", nil
		if k, _, err := start(t, cfg); err != nil || k.Degraded() != "kafka away" {
			t.Fatalf("%v", err)
		}
	})
	t.Run("none", func(t *testing.T) { // the broker hangs up: that may pass, so it is waited for, with a hint
		k, log, err := start(t, bus.KafkaConfig{Brokers: base.Brokers, TLS: base.TLS})
		if err != nil || k.Degraded() != "kafka away" {
			t.Fatalf("%v", err)
		}
		if lines := log.lines(t, "events wait in the outbox"); len(lines) != 1 || !strings.Contains(lines[0]["cause"].(string), "SASL") {
			t.Errorf("logged %v", lines)
		}
	})
}

func TestALoginThatNobodyAsksForIsRefused(t *testing.T) {
	_, _, err := start(t, bus.KafkaConfig{Brokers: servers.Kafka(t), SASL: "plain", User: "nova", Pass: obs.NewSecret(rightPass)})
	refused(t, err, "do not know this kind of login")
}

func TestMissingTopicsAreNamedAtTheStart(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	_, _, err := start(t, bus.KafkaConfig{Brokers: c.ListenAddrs()})
	refused(t, err, "nova.accounts is not there: run nova migrate up")
}

// A broker that is not there is waited for: the process starts, and says so.
func TestAnAbsentBrokerIsAwaited(t *testing.T) {
	addr := freePort(t)
	cfg := bus.KafkaConfig{Brokers: []string{addr}, Partitions: 2}
	k, log, err := start(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if d := k.Degraded(); d != "kafka away" {
		t.Errorf("degraded by %q", d)
	}
	if lines := log.lines(t, "events wait in the outbox"); len(lines) != 1 || lines[0]["setting"] != "kafka" || lines[0]["reason"] != "kafka away" {
		t.Errorf("logged %v", lines)
	}
	in := newOrderly()
	k.Events().Consume(obs.QueueUserEvents, nil, in.take)
	all := sent("conv", 1, 3)
	if err := k.Events().Publish(context.Background(), all); err == nil {
		t.Fatal("published to nobody")
	}
	fake(t, kfake.NumBrokers(1), kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, addr) }))
	if err := bus.MigrateKafka(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	soon(t, "published", func() bool { return k.Events().Publish(context.Background(), all) == nil })
	soon(t, "handled", func() bool { return in.upTo("conv") == 3 })
	in.check(t)
}

func TestTLSIsVerified(t *testing.T) {
	server, roots := certificate(t)
	c := fake(t, kfake.NumBrokers(1), kfake.TLS(server))
	cfg := bus.KafkaConfig{Brokers: c.ListenAddrs(), Partitions: 1, TLS: &tls.Config{RootCAs: roots}}
	if err := bus.MigrateKafka(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	n := newKafkaNode(t, cfg)
	n.publish(sent("conv", 1, 1)...)
	cfg.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	_, _, err := start(t, cfg)
	refused(t, err, "certificate of a broker is not trusted")
}

// certificate makes one for 127.0.0.1, and what trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a broker"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, own, own, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}, roots
}
