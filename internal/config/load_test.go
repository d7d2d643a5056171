package config

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/obs"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nova.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	l, err := Load(Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	for _, want := range []struct{ got, want any }{
		{c.DataDir, "./data"},
		{c.ListenPublic, "127.0.0.1:8080"},
		{c.ListenAdmin, "127.0.0.1:8081"},
		{c.ListenGRPC, ""},
		{len(c.Services), 5},
		{c.DrainTimeout, 25 * time.Second},
		{c.DrainWait, time.Duration(0)},
		{c.AccessTTL, 5 * time.Minute},
		{c.Limits.MessagesPerUser, Rate{50, time.Second, 100}},
		{c.Limits.MessagesPerConversation, Rate{500, time.Second, 1000}},
		{c.Limits.RequestsPerUser, Rate{100, time.Second, 200}},
		{c.Limits.FramesPerSocket, Rate{200, time.Second, 400}},
		{c.Limits.SocketsPerUser, 20},
		{c.Limits.ConnectsPerAddress, Rate{600, time.Minute, 600}},
		{c.Limits.RegistrationsPerAddress, Rate{30, time.Hour, 30}},
		{c.Limits.LoginsPerAddress, Rate{20, time.Minute, 20}},
		{c.DatabaseURL(obs.Auth), "sqlite:data/auth.db"},
	} {
		if !reflect.DeepEqual(want.got, want.want) {
			t.Errorf("default %v, want %v", want.got, want.want)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "access_ttl: 1m\n")
	env, flags := []string{"NOVA_ACCESS_TTL=2m"}, map[string]string{"access_ttl": "3m"}
	for _, c := range []struct {
		name   string
		in     Inputs
		want   time.Duration
		source string
	}{
		{"default", Inputs{}, 5 * time.Minute, "default"},
		{"file", Inputs{File: file}, time.Minute, "file " + file + ":1"},
		{"environment beats file", Inputs{File: file, Environ: env}, 2 * time.Minute, "environment NOVA_ACCESS_TTL"},
		{"empty variable is not set", Inputs{File: file, Environ: []string{"NOVA_ACCESS_TTL="}}, time.Minute, "file " + file + ":1"},
		{"flag beats all", Inputs{File: file, Environ: env, Flags: flags}, 3 * time.Minute, "flag --access-ttl"},
		{"flag mends a bad variable", Inputs{Environ: []string{"NOVA_ACCESS_TTL=soon"}, Flags: flags}, 3 * time.Minute, "flag --access-ttl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Load(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if l.Config.AccessTTL != c.want || l.Sources["access_ttl"] != c.source {
				t.Errorf("%v from %q, want %v from %q", l.Config.AccessTTL, l.Sources["access_ttl"], c.want, c.source)
			}
		})
	}
}

func TestFile(t *testing.T) {
	path := write(t, `# all kinds of values
data_dir: "/var/lib/nova"
log_level: debug
listen_public: :8080
trusted_proxies: [10.1.2.3/8, "fd00::1"]
origins:
  - https://chat.example.com
limits:
  messages_per_user: 1000000
  sockets_per_user: 100
  logins_per_address: 60/10
`)
	l, err := Load(Inputs{File: path})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::1/128")}
	if diff := cmp.Diff(want, c.TrustedProxies, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if c.DataDir != "/var/lib/nova" || c.LogLevel.String() != "DEBUG" || c.Origins[0] != "https://chat.example.com" {
		t.Errorf("wrong values: %+v", c)
	}
	if c.Limits.MessagesPerUser != (Rate{1_000_000, time.Second, 2_000_000}) || c.Limits.SocketsPerUser != 100 ||
		c.Limits.LoginsPerAddress != (Rate{60, time.Minute, 10}) {
		t.Errorf("wrong limits: %+v", c.Limits)
	}
	if c.DrainWait != remoteWait {
		t.Errorf("a public listener beyond loopback waits %v for balancers, want %v", c.DrainWait, remoteWait)
	}
}

// canary stands in every bad value; no message may repeat it.
const canary = "hunter2"

func TestBadInputIsNamedAndNeverRepeated(t *testing.T) {
	for _, c := range []struct {
		name, file, env, flag, value string
		setting, detail              string
	}{
		{name: "unknown key", file: "data_dri: hunter2", setting: "data_dri", detail: "did you mean data_dir?"},
		{name: "unknown limit", file: "limits:\n  hunger: hunter2", setting: "limits.hunger", detail: "no such setting"},
		{name: "limit outside limits", file: "messages_per_user: 5", setting: "messages_per_user", detail: "limits.messages_per_user"},
		{name: "twice", file: "redis: hunter2\nredis: hunter2", setting: "redis", detail: "twice"},
		{name: "mapping for a value", file: "data_dir: {a: hunter2}", setting: "data_dir", detail: "plain value"},
		{name: "null", file: "data_dir:", setting: "data_dir", detail: "plain value"},
		{name: "alias", file: "data_dir: &a hunter2\nlog_dir: *a", setting: "data_dir", detail: "plain value"},
		{name: "no mapping", file: "- hunter2", setting: "config", detail: "mapping"},
		{name: "no YAML", file: "data_dir: [hunter2", setting: "config", detail: "not valid YAML"},
		{name: "two documents", file: "log_dir: a\n---\nlog_dir: b", setting: "config", detail: "one document"},
		{name: "limits as value", file: "limits: hunter2", setting: "limits", detail: "mapping"},
		{name: "level", env: "LOG_LEVEL", value: canary, setting: "log_level", detail: "debug, info, warn or error"},
		{name: "duration without unit", env: "ACCESS_TTL", value: "300", setting: "access_ttl", detail: "unit"},
		{name: "duration too long", env: "ACCESS_TTL", value: "48h", setting: "access_ttl", detail: "24h"},
		{name: "refresh shorter than access", env: "REFRESH_TTL", value: "1m", setting: "refresh_ttl", detail: "longer"},
		{name: "listener without port", flag: "listen_public", value: canary, setting: "listen_public", detail: "HOST:PORT"},
		{name: "port too high", flag: "listen_public", value: ":70000", setting: "listen_public", detail: "65535"},
		{name: "named port", flag: "listen_public", value: ":http", setting: "listen_public", detail: "65535"},
		{name: "same listeners", flag: "listen_admin", value: "127.0.0.1:8080", setting: "listen_admin", detail: "differ"},
		{name: "grpc beyond loopback", flag: "listen_grpc", value: ":8082", setting: "listen_grpc", detail: "loopback"},
		{name: "unknown service", flag: "services", value: canary, setting: "services", detail: "auth,user"},
		{name: "part of the services", flag: "services", value: "auth,user", setting: "services", detail: "must be all"},
		{name: "service twice", flag: "services", value: "auth,auth", setting: "services", detail: "twice"},
		{name: "no service", flag: "services", value: " ", setting: "services", detail: "at least one"},
		{name: "postgres", env: "DATABASE", value: "postgres:hunter2", setting: "database", detail: "postgres://USER"},
		{name: "short seal", env: "SEAL", value: "aHVudGVyMg==", setting: "seal", detail: "32 random bytes"},
		{name: "seal that is no base64", env: "SEAL", value: canary, setting: "seal", detail: "32 random bytes"},
		{name: "a service's database", env: "DATABASE_AUTH", value: "sqlite:hunter2", setting: "database_auth", detail: "postgres://USER"},
		{name: "database of one service alone", env: "DATABASE_AUTH", value: "postgres://hunter2@db/nova", setting: "database_user", detail: "as another service has"},
		{name: "no reads", env: "DATABASE_READS", value: "0", setting: "database_reads", detail: "from 1 on"},
		{name: "too many reads", env: "DATABASE_READS", value: "1001", setting: "database_reads", detail: "1 to 1000"},
		{name: "no copies", env: "KAFKA_COPIES", value: "0", setting: "kafka_copies", detail: "from 1 on"},
		{name: "too many copies", env: "KAFKA_COPIES", value: "101", setting: "kafka_copies", detail: "1 to 100"},
		{name: "no nodes", env: "NODES", value: "0", setting: "nodes", detail: "from 1 on"},
		{name: "other database", env: "DATABASE", value: "hunter2@db", setting: "database", detail: "sqlite:FOLDER"},
		{name: "redis", env: "REDIS", value: "redis://:hunter2@r:6379", setting: "redis", detail: "set database"},
		{name: "kafka", env: "KAFKA", value: "hunter2:9092", setting: "kafka", detail: "set database"},
		{name: "kafka address", env: "KAFKA", value: "hunter2", setting: "kafka", detail: "set database"},
		{name: "kafka login in part", env: "KAFKA_SASL", value: "plain", setting: "kafka_sasl", detail: "kafka_user and kafka_pass"},
		{name: "prefix", env: "PREFIX", value: "a.b", setting: "prefix", detail: "1 to 40"},
		{name: "neither on nor off", env: "KAFKA_TLS", value: canary, setting: "kafka_tls", detail: "on or off"},
		{name: "identity alone", env: "RPC_IDENTITY", value: canary, setting: "rpc_identity", detail: "need each other"},
		{name: "empty item", env: "KAFKA", value: "a:1,,b:1", setting: "kafka", detail: "empty item"},
		{name: "rpc form", env: "RPC", value: canary, setting: "rpc", detail: "SERVICE=ADDR"},
		{name: "rpc of a local service", env: "RPC", value: "auth=a:1", setting: "rpc", detail: "auth"},
		{name: "drain", env: "DRAIN_TIMEOUT", value: "0s", setting: "drain_timeout", detail: "1s to 10m"},
		{name: "drain wait", env: "DRAIN_WAIT", value: "30s", setting: "drain_wait", detail: "shorter"},
		{name: "proxies", env: "TRUSTED_PROXIES", value: canary, setting: "trusted_proxies", detail: "networks"},
		{name: "origin with path", env: "ORIGINS", value: "https://hunter2/", setting: "origins", detail: "nothing else"},
		{name: "origin star", env: "ORIGINS", value: "*", setting: "origins", detail: "no *"},
		{name: "limit off", env: "LIMITS_MESSAGES_PER_USER", value: "0", setting: "limits.messages_per_user", detail: "cannot be switched off"},
		{name: "limit negative", env: "LIMITS_LOGINS_PER_ADDRESS", value: "-1", setting: "limits.logins_per_address", detail: "cannot be switched off"},
		{name: "burst off", env: "LIMITS_LOGINS_PER_ADDRESS", value: "5/0", setting: "limits.logins_per_address", detail: "cannot be switched off"},
		{name: "limit overflow", env: "LIMITS_MESSAGES_PER_USER", value: "99999999999", setting: "limits.messages_per_user", detail: "N/BURST"},
		{name: "sockets off", env: "LIMITS_SOCKETS_PER_USER", value: "0", setting: "limits.sockets_per_user", detail: "from 1 on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var in Inputs
			switch {
			case c.file != "":
				in.File = write(t, c.file+"\n")
			case c.env != "":
				in.Environ = []string{"NOVA_" + c.env + "=" + c.value}
			default:
				in.Flags = map[string]string{c.flag: c.value}
			}
			_, err := Load(in)
			bad, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("Load gave %v, want an *Error", err)
			}
			p := bad.Problems[0]
			if p.Setting != c.setting || !strings.Contains(p.Detail, c.detail) {
				t.Errorf("problem %q: %q, want one of %q with %q", p.Setting, p.Detail, c.setting, c.detail)
			}
			if p.Source == "" {
				t.Error("the problem does not say where the setting was set")
			}
			if strings.Contains(bad.Error(), canary) {
				t.Errorf("the message repeats the value: %v", bad)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Load(Inputs{Environ: []string{"NOVA_LOG_LEVEL=x", "NOVA_REDIS=x", "NOVA_LIMITS_SOCKETS_PER_USER=0"}})
	if bad, ok := errors.AsType[*Error](err); !ok || len(bad.Problems) != 3 {
		t.Errorf("want three problems, got %v", err)
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Load(Inputs{File: filepath.Join(t.TempDir(), "none.yaml")})
	if bad, ok := errors.AsType[*Error](err); !ok || bad.Problems[0].Setting != "config" || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestVariablesThatAreNoSettings(t *testing.T) {
	l, err := Load(Inputs{Environ: []string{"NOVA_LIMITS_MESSAGE_PER_USER=5", "NOVA_SERVICE_HOST=10.0.0.1", "NOVA_TEST_POSTGRES=x", "PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "did you mean NOVA_LIMITS_MESSAGES_PER_USER?") {
		t.Errorf("warnings: %q", l.Warnings)
	}
}

func FuzzFile(f *testing.F) {
	f.Add("data_dir: a\nlimits: {messages_per_user: 5}\nrpc: {auth: [a, b]}\n")
	f.Add("? [a]\n: b\n")
	f.Add("<<: *x\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, problems := parseFile([]byte(text))
		for _, p := range problems {
			if p.Setting == "" && p.Detail == "" {
				t.Error("a problem that says nothing")
			}
		}
		for _, e := range entries {
			if e.line < 1 {
				t.Errorf("entry %q has no line", e.key)
			}
		}
	})
}

// TestProcessesThatShare are configurations of several processes that work, and
// what each lacks when it does not.
func TestProcessesThatShare(t *testing.T) {
	shared := map[string]string{"database": "postgres://nova@db/nova", "redis": "redis://r:6379", "kafka": "k1:9092,k2:9092", "seal": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	tls := map[string]string{"rpc_identity": "me.pem", "rpc_trusted": "all.pem"}
	for name, c := range map[string]struct {
		also map[string]string
		tls  bool
		want string // "setting: what is wrong", "" = it works
	}{
		"all in one":           {nil, false, ""},
		"messaging alone":      {map[string]string{"services": "messaging", "rpc": "auth=127.0.0.1:8082"}, false, ""},
		"auth alone":           {map[string]string{"services": "auth", "listen_grpc": "127.0.0.1:8082"}, false, ""},
		"auth elsewhere":       {map[string]string{"services": "user", "rpc": "auth=a:8082,b:8082"}, true, ""},
		"no seal":              {map[string]string{"seal": ""}, false, "seal: must be set with PostgreSQL and Redis"},
		"a node alone":         {map[string]string{"seal": "", "redis": "", "kafka": ""}, false, ""},
		"no seal without auth": {map[string]string{"seal": "", "services": "messaging", "rpc": "auth=127.0.0.1:8082"}, false, ""},
		"nobody to ask":        {map[string]string{"services": "user"}, false, "rpc: must say where auth answers"},
		"nowhere to be asked":  {map[string]string{"services": "auth"}, false, "listen_grpc: must be set"},
		"open to others":       {map[string]string{"services": "auth", "listen_grpc": ":8082"}, false, "listen_grpc: must be on loopback"},
		"plain to a machine":   {map[string]string{"services": "user", "rpc": "auth=a:8082"}, false, "rpc: must be on loopback"},
		"a database for each":  {map[string]string{"database": "", "database_auth": "postgres://a@db/nova", "database_user": shared["database"], "database_messaging": "postgres://m@other/nova"}, false, ""},
		"its own alone":        {map[string]string{"database": "", "database_user": shared["database"], "services": "user", "rpc": "auth=127.0.0.1:8082"}, false, ""},
		"no database at all":   {map[string]string{"database": "", "database_user": "", "services": "notification", "rpc": "auth=127.0.0.1:8082"}, false, ""},
		"another's alone":      {map[string]string{"database": "", "database_auth": shared["database"], "services": "user", "rpc": "auth=127.0.0.1:8082"}, false, "database_user: must be set, or database"},
		"a part without redis": {map[string]string{"services": "messaging", "rpc": "auth=127.0.0.1:8082", "redis": ""}, false, "services: must be all, or database"},
	} {
		t.Run(name, func(t *testing.T) {
			flags := maps.Clone(shared)
			maps.Copy(flags, c.also)
			if c.tls {
				maps.Copy(flags, tls)
			}
			l, err := Load(Inputs{Flags: flags})
			switch {
			case err == nil && c.want == "":
				if u := l.Config.DatabaseURL(obs.User); l.Config.Local(obs.User) && u != shared["database"] {
					t.Errorf("tables in %s", u)
				}
			case err == nil:
				t.Errorf("accepted, want %q", c.want)
			case c.want == "" || !strings.Contains(strings.ReplaceAll(err.Error(), " (flag --"+strings.ReplaceAll(strings.SplitN(c.want, ":", 2)[0], "_", "-")+")", ""), c.want):
				t.Errorf("got %q, want %q", err, c.want)
			}
		})
	}
}
