package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// PostgresOptions are the differences from a plain server.
type PostgresOptions struct {
	// Settings are further ones, as name=value, and win over the usual ones.
	Settings []string
	// Files are written into the data folder, readable by the server alone:
	// certificates, pg_hba.conf. Settings may name them without a path.
	Files map[string]string
}

// PostgresServer is a PostgreSQL of one's own.
type PostgresServer struct {
	*Server
	// URL names the database "postgres" as its superuser, without TLS.
	URL string

	cluster *cluster
}

// NewPostgres makes a database cluster with fsync on and starts its server. Its
// order of texts is that of a language, as with most operators, not that of bytes.
func NewPostgres(o PostgresOptions) (*PostgresServer, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	owner, err := postgresUser()
	if err != nil {
		return nil, err
	}
	dir, err := makeDir("postgres")
	if err != nil {
		return nil, err
	}
	s, err := newPostgres(o, &cluster{bin: bin, dir: dir, owner: owner, login: rand.Text()}, "")
	if err != nil {
		return nil, errors.Join(err, removeDir(dir))
	}
	return s, nil
}

// newPostgres makes a server, a copy of another one if that is named.
func newPostgres(o PostgresOptions, c *cluster, of string) (*PostgresServer, error) {
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	if of == "" {
		err = c.init(o.Files)
	} else {
		err = c.copy(of)
	}
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", c.login), Host: addrs[0], Path: "/postgres", RawQuery: "sslmode=disable"}
	s := &PostgresServer{URL: u.String(), cluster: c, Server: &Server{
		Addr: addrs[0], Dir: c.dir, name: "PostgreSQL", stop: syscall.SIGINT, abort: syscall.SIGQUIT,
		command: func() *exec.Cmd { return c.server(addrs[0], o.Settings) },
		ready:   func(ctx context.Context) error { return postgresReady(ctx, u.String()) },
	}}
	return s, s.Start()
}

// NewStandby starts a server on a copy of this one's data, which follows it and
// waits for nothing: what this one commits last may be missing there.
func (s *PostgresServer) NewStandby() (*PostgresServer, error) {
	dir, err := makeDir("postgres")
	if err != nil {
		return nil, err
	}
	c := *s.cluster
	c.dir = dir
	standby, err := newPostgres(PostgresOptions{Settings: []string{"wal_retrieve_retry_interval=200ms"}}, &c, s.URL)
	if err != nil {
		return nil, errors.Join(err, removeDir(dir))
	}
	return standby, nil
}

// Promote makes a standby the one that can write.
func (s *PostgresServer) Promote() error {
	out, err := s.cluster.command("pg_ctl", "promote", "-w", "-D", s.cluster.data()).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("pg_ctl promote: %w\n%s", err, out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done("promote", err)
}

// Abort stops the server at once, without a checkpoint (PostgreSQL's immediate
// shutdown): its next start recovers from the log.
func (s *PostgresServer) Abort() error { return s.end("abort", s.abort) }

// Exec runs statements as the superuser.
func (s *PostgresServer) Exec(ctx context.Context, statements ...string) error {
	c, err := pgconn.Connect(ctx, s.URL)
	if err != nil {
		return err
	}
	for _, text := range statements {
		_, last := c.Exec(ctx, text).ReadAll()
		err = errors.Join(err, last)
	}
	return errors.Join(err, c.Close(ctx))
}

// Hold runs statements in a transaction that stays open until release is called.
func (s *PostgresServer) Hold(ctx context.Context, statements ...string) (release func() error, err error) {
	c, err := pgconn.Connect(ctx, s.URL)
	if err != nil {
		return nil, err
	}
	for _, text := range append([]string{"BEGIN"}, statements...) {
		_, last := c.Exec(ctx, text).ReadAll()
		err = errors.Join(err, last)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	return func() error { return c.Close(ctx) }, nil
}

// Column runs a query as the superuser and gives its first column.
func (s *PostgresServer) Column(ctx context.Context, query string) (values []string, err error) {
	c, err := pgconn.Connect(ctx, s.URL)
	if err != nil {
		return nil, err
	}
	results, err := c.Exec(ctx, query).ReadAll()
	for _, r := range results {
		for _, row := range r.Rows {
			values = append(values, string(row[0]))
		}
	}
	return values, errors.Join(err, c.Close(ctx))
}

// cluster is a data folder and what runs on it.
type cluster struct {
	bin, dir, login string
	owner           *syscall.Credential // nil: whoever runs this
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	return cmd
}

func (c *cluster) init(files map[string]string) error {
	if err := c.own(c.dir); err != nil {
		return err
	}
	login, err := c.write("login", c.login)
	if err != nil {
		return err
	}
	out, err := c.command("initdb", "-D", c.data(), "-U", "postgres", "--pwfile", login, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	for name, text := range files {
		if _, err := c.write(filepath.Join("data", name), text); err != nil {
			return err
		}
	}
	return nil
}

// copy makes a standby's folder from a server that runs.
func (c *cluster) copy(of string) error {
	if err := c.own(c.dir); err != nil {
		return err
	}
	out, err := c.command("pg_basebackup", "-d", of, "-D", c.data(), "--write-recovery-conf", "--checkpoint=fast", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	return nil
}

// write makes a file that the server alone can read.
func (c *cluster) write(name, text string) (string, error) {
	path := filepath.Join(c.dir, name)
	return path, errors.Join(os.WriteFile(path, []byte(text), 0o600), c.own(path))
}

func (c *cluster) own(path string) error {
	if c.owner == nil {
		return nil
	}
	return os.Chown(path, int(c.owner.Uid), int(c.owner.Gid))
}

func (c *cluster) server(addr string, settings []string) *exec.Cmd {
	host, port, _ := net.SplitHostPort(addr) // made by freeAddrs
	usual := []string{
		"listen_addresses=" + host, "port=" + port, "unix_socket_directories=",
		"max_connections=400", "shared_buffers=64MB", "fsync=on", "full_page_writes=on",
		"logging_collector=off", "log_line_prefix=%m [%p] ", "max_wal_size=256MB",
		"dynamic_shared_memory_type=mmap", // in its folder, which a kill leaves and Close removes
	}
	args := []string{"-D", c.data()}
	for _, s := range slices.Concat(usual, settings) {
		args = append(args, "-c", s)
	}
	return c.command("postgres", args...)
}

// postgresReady connects. A refusal by the server is an answer too, except the
// one that says it is starting.
func postgresReady(ctx context.Context, addr string) error {
	const cannotConnectNow = "57P03"
	c, err := pgconn.Connect(ctx, addr)
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && refusal.Code != cannotConnectNow {
		return nil
	}
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// postgresBin finds the folder with initdb: in PATH, else the newest where
// Debian and Homebrew put it, outside of PATH.
func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/opt/homebrew/opt/postgresql@*/bin/initdb", "/usr/local/opt/postgresql@*/bin/initdb"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return filepath.Dir(slices.Max(found)), nil
		}
	}
	return "", missing{"PostgreSQL", "apt-get install postgresql-15"}
}

// postgresUser is whom the server runs as: it refuses to run as root.
func postgresUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}
