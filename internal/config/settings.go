package config

import (
	"flag"
	"strings"
	"time"
)

// Setting describes one setting, for flags and for the reference.
type Setting struct {
	Key     string // limits.messages_per_user
	Value   string // what may be written, such as DURATION
	Default string // as it would be written; "" = not set
	Doc     string // one or more sentences
	Secret  bool   // its value is never shown
}

// Flag is the name on the command line, without dashes.
func (s Setting) Flag() string { return strings.NewReplacer("_", "-", ".", "-").Replace(s.Key) }

// Env is the name in the environment.
func (s Setting) Env() string {
	return "NOVA_" + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
}

// setting binds a row to the field that it sets.
type setting struct {
	key      string
	value    flag.Value
	kind     string
	fallback string
	doc      string
}

// settings is the one list of settings; a test compares it with the struct.
func (c *Config) settings() []setting {
	return append(c.processSettings(), append(c.splitSettings(), append(c.serviceSettings(), c.limitSettings()...)...)...)
}

func (c *Config) processSettings() []setting {
	return []setting{
		{"data_dir", (*text)(&c.DataDir), "FOLDER", "./data", "Folder of the databases, the uploaded files and the generated keys. It is made if it does not exist."},
		{"log_dir", (*text)(&c.LogDir), "FOLDER", "", "Folder for one log file per service (`auth.log`, ..., `nova.log` for the process), beside the lines on standard output."},
		{"log_level", (*level)(&c.LogLevel), "LEVEL", "info", "The least severe level that is logged: `debug`, `info`, `warn` or `error`."},
		{"listen_public", (*text)(&c.ListenPublic), "HOST:PORT", "127.0.0.1:8080", "Address of the API, the WebSocket and the web client. Port 0 takes a free one."},
		{"listen_admin", (*text)(&c.ListenAdmin), "HOST:PORT", "127.0.0.1:8081", "Address of metrics, profiles, readiness with reasons, the effective configuration and drain control. Never make it reachable for clients."},
		{"listen_grpc", (*text)(&c.ListenGRPC), "HOST:PORT", "", "Address for calls from Nova's other processes, usually port 8082. Not set: calls between services stay in the process. Beyond loopback it needs `rpc_identity`."},
		{"drain_timeout", (*duration)(&c.DrainTimeout), "DURATION", "25s", "How long a shutdown may take in all. Keep it below what the supervisor grants (Kubernetes: 30 s)."},
		{"drain_wait", (*duration)(&c.DrainWait), "DURATION", "0s", "How long a shutdown goes on serving after it has reported not ready, so that balancers notice. Not set: 0s if `listen_public` is on loopback, else 5s."},
	}
}

func (c *Config) splitSettings() []setting {
	return []setting{
		{"services", (*services)(&c.Services), "all or LIST", "all", "The services that run in this process: `all`, or some of `auth,user,messaging,notification,media`. A part needs `database`, `redis`, `kafka` and, for the others, `rpc`."},
		{"database", &secret{&c.Database}, "URL", "", "Where the tables are. Not set: SQLite files in `data_dir`; `sqlite:FOLDER` puts them elsewhere. `postgres://USER:WORD@HOST/NAME` is PostgreSQL 15 or later, with a schema for each service; several processes may share it, and then need `redis` and `kafka`. Options of libpq are understood: `sslmode=verify-full`, `sslrootcert`, several hosts with `target_session_attrs=read-write`."},
		{"database_auth", &secret{&c.AuthDB}, "URL", "", "Where the tables of auth are, if not in `database`: with a role that sees nothing else, or on another server. Only PostgreSQL. Then the other services need such a setting too, or `database`."},
		{"database_user", &secret{&c.UserDB}, "URL", "", "The same for user."},
		{"database_messaging", &secret{&c.MessagingDB}, "URL", "", "The same for messaging."},
		{"database_reads", (*count)(&c.ReadConns), "N", "4", "How many reads of one service run at once in this process, each over a connection of its own; one more connection writes. A start is refused if PostgreSQL allows fewer connections than all of this process may open, times `nodes`."},
		{"nodes", (*count)(&c.Nodes), "N", "1", "How many processes with these services the deployment is to have. While Redis is away each keeps to its part of the rate limits; those that were heard of count too."},
		{"redis", &secret{&c.Redis}, "URL", "", "Redis 7 or later, by which the processes tell each other what happens: `redis://USER:WORD@HOST:PORT/NUMBER`, or `rediss://` for TLS. Not set: this process is alone."},
		{"kafka", (*list)(&c.Kafka), "ADDR,ADDR", "", "Brokers of Kafka 3 or later, which carries events from one service to the others. `nova migrate up` makes the topics. Not set: events stay in the process."},
		{"prefix", (*text)(&c.Prefix), "NAME", "nova", "Begins the names of the stream in Redis and of the topics and groups in Kafka. Deployments that share these servers need one each."},
		{"kafka_sasl", (*text)(&c.KafkaSASL), "MECHANISM", "", "How to log in to Kafka: `plain`, `scram-sha-256` or `scram-sha-512`. Not set: no login."},
		{"kafka_user", (*text)(&c.KafkaUser), "NAME", "", "Who logs in to Kafka."},
		{"kafka_pass", &secret{&c.KafkaPass}, "WORD", "", "What proves it."},
		{"kafka_tls", (*onOff)(&c.KafkaTLS), "on or off", "off", "Whether the brokers of Kafka speak TLS."},
		{"kafka_copies", (*optional)(&c.KafkaCopies), "N", "", "On how many brokers `nova migrate up` keeps each event. From 3 on, two of them must have it before it counts as published. Not set: as the brokers are configured."},
		{"ca_file", (*text)(&c.CAFile), "FILE", "", "PEM file of the authorities that Redis and Kafka are trusted by. Not set: the system's."},
		{"rpc", &addresses{&c.RPC}, "SERVICE=ADDR,ADDR", "", "Where the services that do not run in this process answer. In the file a mapping of service to addresses; on the command line several are separated by `;`."},
		{"rpc_identity", (*text)(&c.RPCIdentity), "FILE", "", "PEM file of the certificate by which other processes know this one, with its private part. `nova certs` makes it. Not set: calls between processes are not encrypted, and are on loopback alone."},
		{"rpc_trusted", (*text)(&c.RPCTrusted), "FILE", "", "PEM file of the authorities whose certificates other processes must have."},
	}
}

func (c *Config) serviceSettings() []setting {
	return []setting{
		{"seal", &secret{&c.Seal}, "BASE64", "", "Opens the signing keys that auth keeps in its database: 32 random bytes in base64 (`openssl rand -base64 32`). Not set: the file `keys/seal` in `data_dir`, made at the first start. Processes that share PostgreSQL need the same; with Redis it must be set. Set in place of a file, it takes over what the file had sealed."},
		{"access_ttl", (*duration)(&c.AccessTTL), "DURATION", "5m", "How long an access token is accepted. A session ends sooner everywhere when it is logged out."},
		{"refresh_ttl", (*duration)(&c.RefreshTTL), "DURATION", "720h", "How long a session lives without being refreshed."},
		{"trusted_proxies", (*prefixes)(&c.TrustedProxies), "CIDR,CIDR", "", "Networks whose `X-Forwarded-For` is believed. Not set: the address of the connection counts."},
		{"origins", (*list)(&c.Origins), "ORIGIN,ORIGIN", "", "Web origins that may open a WebSocket, such as `https://chat.example.com`. Not set: the public listener's own."},
	}
}

func (c *Config) limitSettings() []setting {
	rate := func(key string, r *Rate, per time.Duration, fallback, doc string) setting {
		return setting{"limits." + key, &rateValue{r, per}, "N or N/BURST", fallback, doc}
	}
	l := &c.Limits
	return []setting{
		rate("messages_per_user", &l.MessagesPerUser, time.Second, "50/100", "Messages that one user may send, per second."),
		rate("messages_per_conversation", &l.MessagesPerConversation, time.Second, "500/1000", "Messages that all senders of one conversation together may send, per second."),
		rate("requests_per_user", &l.RequestsPerUser, time.Second, "100/200", "REST requests of one user, per second."),
		rate("frames_per_socket", &l.FramesPerSocket, time.Second, "200/400", "Frames that one socket may send, per second."),
		{"limits.sockets_per_user", (*count)(&l.SocketsPerUser), "N", "20", "Open sockets of one user."},
		rate("connects_per_address", &l.ConnectsPerAddress, time.Minute, "600/600", "WebSocket upgrades from one client address, per minute."),
		rate("registrations_per_address", &l.RegistrationsPerAddress, time.Hour, "30/30", "Registrations from one client address, per hour."),
		rate("logins_per_address", &l.LoginsPerAddress, time.Minute, "20/20", "Logins from one client address, per minute."),
	}
}

// Settings lists all settings in the order of the reference.
func Settings() []Setting {
	var c Config
	var all []Setting
	for _, s := range c.settings() {
		_, hidden := s.value.(*secret)
		all = append(all, Setting{s.key, s.kind, s.fallback, s.doc, hidden})
	}
	return all
}
