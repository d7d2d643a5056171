package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/test/servers"
)

// starting is the binary from its start on, ready or not.
type starting struct {
	t             *testing.T
	cmd           *exec.Cmd
	public, admin string
	log, said     *logs
	ended         chan struct{}
}

// begin starts the binary with its settings in the environment.
func begin(t *testing.T, nova string, settings map[string]string) *starting {
	t.Helper()
	s := &starting{t: t, log: &logs{}, said: &logs{}, ended: make(chan struct{}), public: freeAddr(t), admin: freeAddr(t)}
	all := map[string]string{"DATA_DIR": t.TempDir(), "LISTEN_PUBLIC": s.public, "LISTEN_ADMIN": s.admin}
	maps.Copy(all, settings)
	s.cmd = exec.Command(nova, "serve")
	s.cmd.Env = os.Environ()
	for name, value := range all {
		s.cmd.Env = append(s.cmd.Env, "NOVA_"+name+"="+value)
	}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.said
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // the state says it
	}()
	t.Cleanup(func() { s.stop(syscall.SIGKILL) })
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// code waits for the end and gives the exit code.
func (s *starting) code() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(2 * patience):
		s.t.Fatalf("it did not end:\n%s\n%s", s.said, s.log)
	}
	return s.cmd.ProcessState.ExitCode()
}

func (s *starting) stop(signal syscall.Signal) int {
	_ = s.cmd.Process.Signal(signal) // it may have ended already
	return s.code()
}

// readiness is what the admin listener says; "" while it does not answer.
func (s *starting) readiness() string {
	res, err := http.Get("http://" + s.admin + "/readyz")
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(res.Body) // what is not whole is not what is waited for
	return b.String()
}

func (s *starting) until(what string) {
	s.t.Helper()
	within(s.t, what, func() bool {
		select {
		case <-s.ended:
			s.t.Fatalf("it ended while %s was waited for:\n%s", what, s.said)
		default:
		}
		return strings.Contains(s.readiness(), what)
	})
}

// wantRefusal wants the end with 78, one line that names the setting, and no
// word of what must not be seen.
func (s *starting) wantRefusal(t *testing.T, setting, says string) {
	t.Helper()
	if code := s.code(); code != 78 {
		t.Errorf("exit code %d, want 78", code)
	}
	line := s.said.String()
	if !strings.HasPrefix(line, "nova: setting "+setting) || strings.Count(line, "\n") != 1 || !strings.Contains(line, says) {
		t.Errorf("it says %q, want one line about %s that says %q", line, setting, says)
	}
	s.wantDiscretion(t)
}

func (s *starting) wantDiscretion(t *testing.T) {
	t.Helper()
	for _, text := range []string{s.said.String(), s.log.String()} {
		if strings.Contains(text, canary) {
			t.Errorf("it shows what it must not:\n%s", text)
		}
	}
}

// sharing are the settings of a node beside others on a database.
func sharing(database string) map[string]string {
	return map[string]string{"DATABASE": database, "SEAL": seal.Reveal()}
}

func with(settings map[string]string, more ...string) map[string]string {
	for i := 0; i+1 < len(more); i += 2 {
		settings[more[i]] = more[i+1]
	}
	return settings
}

// changed gives an address with something of it changed.
func changed(t *testing.T, address string, change func(u *url.URL)) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("the address cannot be read")
	}
	change(u)
	return u.String()
}

// TestStartsThatAreRefused: what no waiting mends ends the binary with 78.
func TestStartsThatAreRefused(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	nova, database := build(t), servers.Postgres(t)
	taken := freeAddr(t)
	holder := begin(t, nova, map[string]string{"LISTEN_PUBLIC": taken})
	holder.until(`"ready"`)
	word := func(u *url.URL) { u.User = url.UserPassword("postgres", canary) }
	for name, c := range map[string]struct {
		setting, says string
		settings      func(t *testing.T) map[string]string
	}{
		"PostgreSQL refuses the login": {"database", "refuses the login", func(t *testing.T) map[string]string {
			return sharing(changed(t, database, word))
		}},
		"PostgreSQL knows no such user": {"database", "refuses the login", func(t *testing.T) map[string]string {
			return sharing(changed(t, database, func(u *url.URL) { u.User = url.UserPassword("nobody", canary) }))
		}},
		"there is no such database": {"database", "does not exist", func(t *testing.T) map[string]string {
			return sharing(changed(t, database, func(u *url.URL) { u.Path = "/" + canary }))
		}},
		"the user may not make the schema": {"database", "allows too little", func(t *testing.T) map[string]string {
			return sharing(servers.PostgresRole(t, database, "something_else"))
		}},
		"the tables are too new": {"database", "newer Nova", func(t *testing.T) map[string]string {
			return sharing(newerTables(t))
		}},
		"there is no such database of one service": {"database_user", "does not exist", func(t *testing.T) map[string]string {
			return with(sharing(database), "DATABASE_USER", changed(t, database, func(u *url.URL) { u.Path = "/" + canary }))
		}},
		"no address of a database": {"database", "must be", func(*testing.T) map[string]string {
			return sharing("mysql://" + canary)
		}},
		"Redis refuses the login": {"redis", "refuses this user", func(t *testing.T) map[string]string {
			r := servers.StartRedis(t, servers.RedisOptions{Args: strings.Fields("--user nova on >right ~* +@all")})
			return with(sharing(database), "REDIS", "redis://nova:"+canary+"@"+r.Addr)
		}},
		"Redis allows too little": {"redis", "lacks a right", func(t *testing.T) map[string]string {
			r := servers.StartRedis(t, servers.RedisOptions{Args: strings.Fields("--user nova on >" + canary + " ~* +ping")})
			return with(sharing(database), "REDIS", "redis://nova:"+canary+"@"+r.Addr)
		}},
		"no address of a Redis": {"redis", "must begin with", func(*testing.T) map[string]string {
			return with(sharing(database), "REDIS", "http://"+canary+"@127.0.0.1")
		}},
		"the topics are missing": {"kafka", "nova migrate up", func(t *testing.T) map[string]string {
			return with(sharing(database), "KAFKA", strings.Join(servers.Kafka(t), ","), "PREFIX", "nobody-made-these")
		}},
		"Kafka does not take this login": {"kafka", "login", func(t *testing.T) map[string]string {
			return with(sharing(database), "KAFKA", strings.Join(servers.Kafka(t), ","), "KAFKA_SASL", "plain", "KAFKA_USER", "nova", "KAFKA_PASS", canary)
		}},
		"no address of a broker": {"kafka", "HOST:PORT", func(*testing.T) map[string]string {
			return with(sharing(database), "KAFKA", canary)
		}},
		"no authorities": {"ca_file", "cannot be read", func(t *testing.T) map[string]string {
			return with(sharing(database), "REDIS", "rediss://127.0.0.1:1", "CA_FILE", filepath.Join(t.TempDir(), canary))
		}},
		"no certificate": {"rpc_identity", "", func(*testing.T) map[string]string {
			return with(sharing(database), "RPC_IDENTITY", canary, "RPC_TRUSTED", canary)
		}},
		"no seal": {"seal", "must be set", func(t *testing.T) map[string]string {
			return with(sharing(database), "SEAL", "", "REDIS", servers.Redis(t))
		}},
		"the seal of another folder": {"seal", "was not made for this database", func(t *testing.T) map[string]string {
			alone := with(sharing(servers.Postgres(t)), "SEAL", "")
			first := begin(t, nova, alone)
			first.until(`"ready"`)
			first.stop(syscall.SIGTERM)
			return alone
		}},
		"another seal": {"seal", "", func(t *testing.T) map[string]string {
			begun := sharing(servers.Postgres(t))
			first := begin(t, nova, begun)
			first.until(`"ready"`)
			first.stop(syscall.SIGTERM)
			return with(begun, "SEAL", strings.Repeat("A", 43)+"=")
		}},
		"the address is taken":             {"listen_public", "another program", func(*testing.T) map[string]string { return map[string]string{"LISTEN_PUBLIC": taken} }},
		"the operator's address is taken":  {"listen_admin", "another program", func(*testing.T) map[string]string { return map[string]string{"LISTEN_ADMIN": taken} }},
		"the address is another machine's": {"listen_public", "no address of this machine", func(*testing.T) map[string]string { return map[string]string{"LISTEN_PUBLIC": "192.0.2.1:8080"} }},
		"the address is none":              {"listen_public", "must be HOST:PORT", func(*testing.T) map[string]string { return map[string]string{"LISTEN_PUBLIC": "8080"} }},
		"a service that nobody says how to reach": {"rpc", "auth", func(t *testing.T) map[string]string {
			return with(sharing(database), "SERVICES", "user", "REDIS", servers.Redis(t), "KAFKA", strings.Join(servers.Kafka(t), ","))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin(t, nova, c.settings(t)).wantRefusal(t, c.setting, c.says)
		})
	}
}

// TestStartsThatWait: a server that cannot be reached yet is waited for, without
// taking connections meanwhile, and the operator is told what is missing.
func TestStartsThatWait(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	nova := build(t)
	for name, c := range map[string]struct {
		reason, setting string
		settings        func(t *testing.T) (settings map[string]string, come func())
	}{
		"PostgreSQL": {"waiting for the database of auth", "database", func(t *testing.T) (map[string]string, func()) {
			database := servers.Postgres(t)
			var way *servers.Proxy
			database = changed(t, database, func(u *url.URL) {
				way = servers.StartProxy(t, u.Host)
				u.Host = way.Addr
			})
			way.Refuse()
			return sharing(database), func() { way.Restore() }
		}},
		"auth": {"waiting for auth", "rpc", func(t *testing.T) (map[string]string, func()) {
			calls := freeAddr(t)
			cfg := config.Default()
			shared(t, servers.Redis(t))(&cfg)
			share := with(sharing(cfg.Database.Reveal()), "REDIS", cfg.Redis.Reveal(), "KAFKA", strings.Join(cfg.Kafka, ","), "PREFIX", cfg.Prefix)
			auth := with(maps.Clone(share), "SERVICES", "auth", "LISTEN_GRPC", calls)
			return with(share, "SERVICES", "messaging", "RPC", "auth="+calls), func() { begin(t, nova, auth) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings, come := c.settings(t)
			s := begin(t, nova, settings)
			s.until(c.reason)
			within(t, "the log to name the setting", func() bool { return len(s.log.lines(t, `"setting":"`+c.setting+`"`)) > 0 })
			if conn, err := net.Dial("tcp", s.public); err == nil {
				t.Error("it takes connections and does not serve them")
				_ = conn.Close()
			}
			come()
			s.until(`"ready"`)
			s.wantDiscretion(t)
			if code := s.stop(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d\n%s", code, s.log.String())
			}
		})
	}
}

// TestStartsThatDoWithout: Redis and Kafka that cannot be reached yet keep nobody
// from starting; what they are missed for is told until they come.
func TestStartsThatDoWithout(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	nova := build(t)
	cfg := config.Default()
	shared(t, servers.Redis(t))(&cfg)
	redis, err := url.Parse(cfg.Redis.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	toRedis, toKafka := servers.StartProxy(t, redis.Host), servers.StartProxy(t, cfg.Kafka[0])
	redis.Host = toRedis.Addr
	toRedis.Refuse()
	toKafka.Refuse()
	s := begin(t, nova, with(sharing(cfg.Database.Reveal()), "REDIS", redis.String(), "KAFKA", toKafka.Addr, "PREFIX", cfg.Prefix))
	s.until(`"degraded":["redis away","kafka away"]`)
	for _, setting := range []string{"redis", "kafka"} {
		within(t, "the log to name the setting", func() bool { return len(s.log.lines(t, `"setting":"`+setting+`"`)) > 0 })
	}
	toRedis.Restore()
	toKafka.Restore()
	within(t, "both to be found", func() bool { return strings.TrimSpace(s.readiness()) == `{"status":"ready"}` })
	if code := s.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestTwoNodesWithOneID: a node on the copy of another's folder is refused, one
// on the same folder too; one that comes back after a crash is not.
func TestTwoNodesWithOneID(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	nova, database := build(t), servers.Postgres(t)
	folder, copied := t.TempDir(), t.TempDir()
	first := begin(t, nova, with(sharing(database), "DATA_DIR", folder))
	first.until(`"ready"`)
	begin(t, nova, with(sharing(database), "DATA_DIR", folder)).wantRefusal(t, "data_dir", "in use by process")
	id, err := os.ReadFile(filepath.Join(folder, "node"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(copied, "node"), id, 0o600); err != nil {
		t.Fatal(err)
	}
	begin(t, nova, with(sharing(database), "DATA_DIR", copied)).wantRefusal(t, "data_dir", strings.TrimSpace(string(id)))
	begin(t, nova, sharing(database)).until(`"ready"`) // another node may
	first.stop(syscall.SIGKILL)
	again := begin(t, nova, with(sharing(database), "DATA_DIR", folder))
	again.until(`"ready"`)
	if now, err := os.ReadFile(filepath.Join(folder, "node")); err != nil || string(now) != string(id) {
		t.Errorf("the id was %s and is %s", id, now)
	}
	if code := again.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
