package config

import (
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// Validate says, all at once, what cannot work. [Load] has done it already.
func (c Config) Validate() error {
	if all := c.problems(); len(all) > 0 {
		return &Error{all}
	}
	return nil
}

func (c *Config) problems() []Problem {
	var v validator
	v.check(c.DataDir != "", "data_dir", "must name a folder")
	v.listeners(c)
	v.split(c)
	v.seal(c)
	v.durations(c)
	for _, o := range c.Origins {
		v.check(validOrigin(o), "origins", "must be origins such as https://chat.example.com: scheme, host and port, nothing else, no *")
	}
	v.limits(&c.Limits)
	return v.problems
}

type validator struct{ problems []Problem }

// check notes a problem unless ok; one for each setting is enough.
func (v *validator) check(ok bool, key, detail string) {
	if ok || len(v.problems) > 0 && v.problems[len(v.problems)-1].Setting == key {
		return
	}
	v.problems = append(v.problems, Problem{Setting: key, Detail: detail})
}

const wantAddress = "must be HOST:PORT or :PORT, with a port from 0 to 65535"

func (v *validator) listeners(c *Config) {
	v.check(validAddress(c.ListenPublic), "listen_public", wantAddress)
	v.check(validAddress(c.ListenAdmin), "listen_admin", wantAddress)
	v.check(c.ListenAdmin != c.ListenPublic || strings.HasSuffix(c.ListenAdmin, ":0"),
		"listen_admin", "must differ from listen_public: metrics and profiles are never public")
	if c.ListenGRPC != "" {
		v.check(validAddress(c.ListenGRPC), "listen_grpc", wantAddress)
		v.check(loopback(c.ListenGRPC) || c.RPCIdentity != "", "listen_grpc", "must be on loopback, or rpc_identity and rpc_trusted must be set: calls between machines need TLS")
	}
}

// prefix is what names of Redis and Kafka may begin with.
var prefix = regexp.MustCompile(`^[a-z0-9_-]{1,40}$`)

// split checks what several processes need of each other.
func (v *validator) split(c *Config) {
	v.database(c.Database.Reveal())
	v.databases(c)
	v.check(c.ReadConns >= 1 && c.ReadConns <= maxReadConns, "database_reads", "must be from 1 to 1000")
	v.check(c.Nodes >= 1, "nodes", "must be a whole number from 1 on")
	v.services(c)
	v.check(c.shares() || c.Redis.Empty(), "redis", "needs a database of several processes: set database to postgres://...")
	v.check(c.shares() || len(c.Kafka) == 0, "kafka", "needs a database of several processes: set database to postgres://...")
	for _, a := range c.Kafka {
		v.check(validAddress(a), "kafka", wantAddress)
	}
	v.check(prefix.MatchString(c.Prefix), "prefix", "must be 1 to 40 of a-z, 0-9, - and _")
	v.check(c.KafkaCopies >= 0 && c.KafkaCopies <= maxCopies, "kafka_copies", "must be from 1 to 100")
	v.check(c.KafkaSASL == "" || c.KafkaUser != "" && !c.KafkaPass.Empty(), "kafka_sasl", "needs kafka_user and kafka_pass")
	v.check((c.RPCIdentity == "") == (c.RPCTrusted == ""), "rpc_identity", "and rpc_trusted need each other")
	for svc, addrs := range c.RPC {
		v.check(!c.Local(svc), "rpc", "must not name "+svc.String()+", which runs in this process (see services)")
		for _, a := range addrs {
			v.check(validAddress(a), "rpc", wantAddress)
			v.check(loopback(a) || c.RPCIdentity != "", "rpc", "must be on loopback, or rpc_identity and rpc_trusted must be set: calls between machines need TLS")
		}
	}
}

// services checks that a process with a part of the services finds the others.
// Everybody calls auth, and nobody else is called yet.
func (v *validator) services(c *Config) {
	if len(c.Services) == len(obs.Services()) {
		return
	}
	whole := c.shares() && !c.Redis.Empty() && len(c.Kafka) > 0
	v.check(whole, "services", "must be all, or database (PostgreSQL), redis and kafka must be set: the services of several processes share them")
	v.check(c.Local(obs.Auth) || len(c.RPC[obs.Auth]) > 0, "rpc", "must say where auth answers (auth=HOST:PORT), which does not run in this process")
	v.check(!c.Local(obs.Auth) || c.ListenGRPC != "", "listen_grpc", "must be set: the other services call auth, which runs in this process")
}

func (v *validator) database(raw string) {
	scheme, rest, _ := strings.Cut(raw, ":")
	switch scheme {
	case "":
	case "sqlite":
		v.check(rest != "", "database", "must be sqlite:FOLDER")
	case "postgres", "postgresql":
		v.check(strings.HasPrefix(rest, "//"), "database", "must be postgres://USER:WORD@HOST/NAME")
	default:
		v.check(false, "database", "must be postgres://USER:WORD@HOST/NAME, sqlite:FOLDER, or left out for SQLite in data_dir")
	}
}

// databases checks those of single services. All of a process are of one kind:
// processes that share one share all.
func (v *validator) databases(c *Config) {
	for _, s := range stored {
		own := c.ownDatabase(s)
		v.check(own.Empty() || isPostgres(own), "database_"+s.String(), "must be postgres://USER:WORD@HOST/NAME")
		missing := own.Empty() && c.Shared() && !isPostgres(c.Database) && c.Local(s)
		v.check(!missing, "database_"+s.String(), "must be set, or database, as another service has an address of its own")
	}
}

// seal is checked where auth runs. Nodes that talk to each other would each make
// a seal of its own; one alone with PostgreSQL may.
func (v *validator) seal(c *Config) {
	if !c.Seal.Empty() {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(c.Seal.Reveal()))
		v.check(err == nil && len(raw) == sealLen, "seal", "must be 32 random bytes in base64, such as openssl rand -base64 32 gives")
		return
	}
	v.check(!c.Local(obs.Auth) || !c.Shared() || c.Redis.Empty(), "seal", "must be set with PostgreSQL and Redis, to the same value on all nodes: 32 random bytes in base64, such as openssl rand -base64 32 gives")
}

const (
	sealLen      = 32
	maxReadConns = 1000
	maxCopies    = 100
)

const (
	maxDrain     = 10 * time.Minute
	maxAccessTTL = 24 * time.Hour
)

func (v *validator) durations(c *Config) {
	v.check(c.DrainTimeout >= time.Second && c.DrainTimeout <= maxDrain, "drain_timeout", "must be from 1s to 10m")
	v.check(c.DrainWait >= 0 && c.DrainWait < c.DrainTimeout, "drain_wait", "must be at least 0s and shorter than drain_timeout")
	v.check(c.AccessTTL >= time.Second && c.AccessTTL <= maxAccessTTL, "access_ttl", "must be from 1s to 24h")
	v.check(c.RefreshTTL > c.AccessTTL, "refresh_ttl", "must be longer than access_ttl")
}

func (v *validator) limits(l *Limits) {
	check := func(key string, r Rate) {
		v.check(r.Count > 0 && r.Burst > 0 && r.Per > 0, "limits."+key, "must be N or N/BURST, whole numbers from 1 on; a limit cannot be switched off")
	}
	check("messages_per_user", l.MessagesPerUser)
	check("messages_per_conversation", l.MessagesPerConversation)
	check("requests_per_user", l.RequestsPerUser)
	check("frames_per_socket", l.FramesPerSocket)
	v.check(l.SocketsPerUser > 0, "limits.sockets_per_user", "must be a whole number from 1 on; a limit cannot be switched off")
	check("connects_per_address", l.ConnectsPerAddress)
	check("registrations_per_address", l.RegistrationsPerAddress)
	check("logins_per_address", l.LoginsPerAddress)
}

func validAddress(a string) bool {
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == port
}

// loopback says whether only this machine can reach a listener on a.
func loopback(a string) bool {
	host, _, err := net.SplitHostPort(a)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// validOrigin accepts what RFC 6454 section 6.2 writes, with http or https.
func validOrigin(o string) bool {
	u, err := url.Parse(o)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	return o == u.Scheme+"://"+u.Host && !strings.Contains(o, "*") && o == strings.ToLower(o)
}
