package config

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// Config is every setting of a process. Make one with [Load] or [Default].
type Config struct {
	DataDir  string
	LogDir   string // "" = standard output only
	LogLevel slog.Level

	ListenPublic string
	ListenAdmin  string
	ListenGRPC   string // "" = calls between services stay in the process

	Services    []obs.Service // those that run in this process
	Database    obs.Secret    // "" = SQLite files in DataDir; "sqlite:FOLDER"; "postgres://..."
	AuthDB      obs.Secret    // of auth alone; "" = Database; so are the next two
	UserDB      obs.Secret
	MessagingDB obs.Secret
	ReadConns   int                      // of each service; beside them one connection writes
	Nodes       int                      // processes with the same services that the deployment is to have
	Redis       obs.Secret               // "" = memory
	Kafka       []string                 // none = memory
	Prefix      string                   // of the names in Redis and Kafka
	KafkaSASL   string                   // "" = no login
	KafkaUser   string                   // with KafkaSASL
	KafkaPass   obs.Secret               // with KafkaSASL
	KafkaTLS    bool                     // the brokers speak TLS
	KafkaCopies int                      // of each event; 0 = as the brokers are configured
	CAFile      string                   // authorities of Redis and Kafka; "" = the system's
	RPC         map[obs.Service][]string // addresses of the services that run elsewhere
	RPCIdentity string                   // file of this process's certificate for RPC; "" = no TLS, on loopback alone
	RPCTrusted  string                   // file of the authorities of the other processes

	DrainTimeout time.Duration // the whole shutdown
	DrainWait    time.Duration // from "not ready" to the first refusal, so that balancers notice

	Seal       obs.Secret // "" = a file below DataDir, made at the first start
	AccessTTL  time.Duration
	RefreshTTL time.Duration

	TrustedProxies []netip.Prefix
	Origins        []string // beside the public listener's own

	Limits Limits
}

// Limits are all rate limits that exist. None can be switched off.
type Limits struct {
	MessagesPerUser         Rate
	MessagesPerConversation Rate
	RequestsPerUser         Rate
	FramesPerSocket         Rate
	SocketsPerUser          int
	ConnectsPerAddress      Rate
	RegistrationsPerAddress Rate
	LoginsPerAddress        Rate
}

// Rate allows Count events in each Per on average, and at most Burst at once.
type Rate struct {
	Count int
	Per   time.Duration
	Burst int
}

// PerSecond is the average rate.
func (r Rate) PerSecond() float64 { return float64(r.Count) / r.Per.Seconds() }

// Default is the configuration of a process that was told nothing.
func Default() Config {
	var c Config
	for _, s := range c.settings() {
		if err := s.value.Set(s.fallback); err != nil {
			panic("config: default of " + s.key + ": " + err.Error())
		}
	}
	c.settle(func(string) bool { return false })
	return c
}

// remoteWait is how long balancers get to notice that the process is not ready.
const remoteWait = 5 * time.Second

// settle gives a value to what was left open and depends on other settings.
func (c *Config) settle(isSet func(key string) bool) {
	if !isSet("drain_wait") && !loopback(c.ListenPublic) {
		c.DrainWait = remoteWait
	}
}

// Local says whether the service runs in this process.
func (c *Config) Local(s obs.Service) bool { return slices.Contains(c.Services, s) }

// ownDatabase is the address that a service alone has, "" if none.
func (c *Config) ownDatabase(s obs.Service) obs.Secret {
	switch s {
	case obs.Auth:
		return c.AuthDB
	case obs.User:
		return c.UserDB
	case obs.Messaging:
		return c.MessagingDB
	default:
		return obs.Secret{}
	}
}

// DatabaseURL is where a service keeps its tables: a SQLite file of its own, or
// a PostgreSQL database, in which each service has a schema.
func (c *Config) DatabaseURL(s obs.Service) string {
	if own := c.ownDatabase(s); !own.Empty() {
		return own.Reveal()
	}
	if isPostgres(c.Database) {
		return c.Database.Reveal()
	}
	dir := c.DataDir
	if d, ok := strings.CutPrefix(c.Database.Reveal(), sqliteScheme); ok {
		dir = d
	}
	return sqliteScheme + filepath.Join(dir, s.String()+".db")
}

// DatabaseSetting names the setting that DatabaseURL is from.
func (c *Config) DatabaseSetting(s obs.Service) string {
	if c.ownDatabase(s).Empty() {
		return "database"
	}
	return "database_" + s.String()
}

const sqliteScheme = "sqlite:"

// stored are the services that have a database.
var stored = []obs.Service{obs.Auth, obs.User, obs.Messaging}

// Shared says whether the databases can be those of several processes.
func (c *Config) Shared() bool {
	return isPostgres(c.Database) || slices.ContainsFunc(stored, func(s obs.Service) bool { return isPostgres(c.ownDatabase(s)) })
}

// shares says whether the process can be one of several: its databases are
// shared, or none of its services has one.
func (c *Config) shares() bool { return c.Shared() || !slices.ContainsFunc(stored, c.Local) }

func isPostgres(address obs.Secret) bool {
	scheme, _, _ := strings.Cut(address.Reveal(), ":")
	return scheme == "postgres" || scheme == "postgresql"
}
