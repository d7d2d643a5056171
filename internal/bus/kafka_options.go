package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// kafkaName is the setting under which the operator finds what is wrong; the
// number of copies has one of its own.
const (
	kafkaName       = "kafka"
	kafkaCopiesName = "kafka_copies"
)

const (
	defaultPrefix     = "nova"
	defaultPartitions = 12

	// leaderAge is how often at most the brokers are asked who leads what. It
	// bounds what a moved leader costs.
	leaderAge = 250 * time.Millisecond
	dialTime  = 2 * time.Second
	// silentTime is after how long without an answer a connection is given up,
	// so that a broker that was stopped and goes on does not cost longer.
	silentTime = 5 * time.Second
	// backTime is the longest wait between two tries, and with that the time
	// until it is noticed that Kafka is back.
	backTime = time.Second
)

func kafkaWrong(detail string, cause error) *SettingError {
	return &SettingError{Setting: kafkaName, Detail: detail, cause: cause}
}

// kafkaOptions checks the config, fills in what was left open, and makes of it
// what the client of the library takes.
func kafkaOptions(cfg *KafkaConfig) ([]kgo.Opt, error) {
	if err := cfg.settle(); err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID("nova"),
		kgo.DialTimeout(dialTime),
		kgo.RequestTimeoutOverhead(silentTime),
		kgo.MetadataMinAge(leaderAge),
		kgo.MetadataMaxAge(time.Minute),
		kgo.RetryBackoffFn(kafkaBackoff),
		// A proxy whose broker is gone takes connections and ends them at once. The
		// library would take that for a client that lacks TLS, and give up.
		kgo.AlwaysRetryEOF(),
	}
	if cfg.TLS != nil {
		c := cfg.TLS.Clone()
		c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
		opts = append(opts, kgo.DialTLSConfig(c))
	}
	if m := cfg.login(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

func kafkaBackoff(tries int) time.Duration {
	return min(firstWait<<min(max(tries-1, 0), 10), backTime)
}

func (cfg *KafkaConfig) settle() error {
	if cfg.Prefix == "" {
		cfg.Prefix = defaultPrefix
	}
	if cfg.Partitions <= 0 {
		cfg.Partitions = defaultPartitions
	}
	if len(cfg.Brokers) == 0 {
		return kafkaWrong("must name at least one broker as host:port", nil)
	}
	loopback := true
	for _, b := range cfg.Brokers {
		host, port, err := net.SplitHostPort(b)
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || bad != nil || n == 0 {
			return kafkaWrong("must be a list of host:port, such as kafka-1:9092,kafka-2:9092", nil)
		}
		ip := net.ParseIP(host)
		loopback = loopback && (host == "localhost" || ip != nil && ip.IsLoopback())
	}
	switch cfg.SASL {
	case "":
		return nil
	case "plain", "scram-sha-256", "scram-sha-512":
	default:
		return kafkaWrong("knows the logins plain, scram-sha-256 and scram-sha-512", nil)
	}
	if cfg.User == "" || cfg.Pass.Empty() {
		return kafkaWrong("needs a user and what proves it for the login "+cfg.SASL, nil)
	}
	if cfg.SASL == "plain" && cfg.TLS == nil && !loopback {
		return kafkaWrong("needs TLS for the login plain, which would be readable on the way; or use scram-sha-512", nil)
	}
	return nil
}

func (cfg *KafkaConfig) login() sasl.Mechanism {
	switch cfg.SASL {
	case "plain":
		return plain.Auth{User: cfg.User, Pass: cfg.Pass.Reveal()}.AsMechanism()
	case "scram-sha-256":
		return scram.Auth{User: cfg.User, Pass: cfg.Pass.Reveal()}.AsSha256Mechanism()
	case "scram-sha-512":
		return scram.Auth{User: cfg.User, Pass: cfg.Pass.Reveal()}.AsSha512Mechanism()
	}
	return nil
}

// kafkaSetting finds in an error what no waiting mends, nil if there is nothing.
func kafkaSetting(err error) *SettingError {
	var set *SettingError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &set):
		return set
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return kafkaWrong("the login was refused: check the user and what proves it", err)
	case errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return kafkaWrong("the brokers do not know this kind of login", err)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed):
		return kafkaWrong("the user lacks rights on Nova's topics or groups", err)
	case errors.As(err, &cert):
		return kafkaWrong("the certificate of a broker is not trusted", err)
	}
	return nil
}

// ended says whether a context did.
func ended(ctx context.Context) bool { return ctx.Err() != nil }
