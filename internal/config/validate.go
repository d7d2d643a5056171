package config

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// Validate says, all at once, what cannot work. [Load] has done it already.
// A process that was assembled in a test may differ: several Apps of one test
// share a memory bus, which no configuration can express.
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
		v.check(loopback(c.ListenGRPC), "listen_grpc", "must be on loopback: calls between machines need TLS, which comes with a later version")
	}
}

const laterVersion = " with a later version; leave it out"

func (v *validator) split(c *Config) {
	part := len(c.Services) < len(obs.Services())
	v.check(!part, "services", "must be all in this version: a part of the services needs Redis and Kafka, which come later")
	v.database(c.Database.Reveal())
	v.check(c.Redis.Empty(), "redis", "support for Redis comes"+laterVersion)
	v.check(len(c.Kafka) == 0, "kafka", "support for Kafka comes"+laterVersion)
	for svc, addrs := range c.RPC {
		v.check(!c.Local(svc), "rpc", "must not name "+svc.String()+", which runs in this process (see services)")
		for _, a := range addrs {
			v.check(validAddress(a), "rpc", wantAddress)
		}
	}
}

func (v *validator) database(raw string) {
	scheme, rest, _ := strings.Cut(raw, ":")
	switch scheme {
	case "":
	case "sqlite":
		v.check(rest != "", "database", "must be sqlite:FOLDER")
	case "postgres", "postgresql":
		v.check(false, "database", "support for PostgreSQL comes"+laterVersion+" for SQLite")
	default:
		v.check(false, "database", "must be sqlite:FOLDER, or left out for SQLite in data_dir")
	}
}

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
