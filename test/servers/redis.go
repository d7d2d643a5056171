package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// RedisOptions are the differences from a plain server.
type RedisOptions struct {
	// AOF keeps the data over restarts, synced with each write. Without it the
	// server starts empty.
	AOF bool
	// Args are further ones, as on the command line of redis-server, and win
	// over the usual ones.
	Args []string
}

// RedisServer is a Redis of one's own.
type RedisServer struct {
	*Server
	URL string
}

// NewRedis starts a Redis server.
func NewRedis(o RedisOptions) (*RedisServer, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, missing{"Redis", "apt-get install redis-server"}
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	dir, err := makeDir("redis")
	if err != nil {
		return nil, err
	}
	s := &RedisServer{URL: "redis://" + addrs[0] + "/0", Server: &Server{
		Addr: addrs[0], Dir: dir, name: "Redis", stop: syscall.SIGTERM,
		command: func() *exec.Cmd { return redisCommand(bin, dir, addrs[0], o) },
		ready:   func(ctx context.Context) error { return redisReady(ctx, addrs[0]) },
	}}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// logicalDatabases is how many tests can hold one at a time on a shared Redis.
const logicalDatabases = 512

func redisCommand(bin, dir, addr string, o RedisOptions) *exec.Cmd {
	host, port, _ := net.SplitHostPort(addr) // made by freeAddrs
	args := []string{"--bind", host, "--port", port, "--dir", dir, "--save", "", "--databases", strconv.Itoa(logicalDatabases)}
	if o.AOF {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	cmd := exec.Command(bin, append(args, o.Args...)...)
	cmd.Dir = filepath.Clean(dir)
	return cmd
}

// Flush empties the server.
func (s *RedisServer) Flush(ctx context.Context) error {
	line, err := redisAsk(ctx, s.Addr, "FLUSHALL")
	if err == nil && !strings.HasPrefix(line, "+OK") {
		err = fmt.Errorf("redis answers %q", line)
	}
	return err
}

// EndReaders ends the connections that wait for news of a stream.
func (s *RedisServer) EndReaders(ctx context.Context) error {
	list, err := redisAsk(ctx, s.Addr, "CLIENT LIST")
	if err != nil {
		return err
	}
	for client := range strings.Lines(list) {
		id, _, _ := strings.Cut(strings.TrimPrefix(client, "id="), " ")
		if !strings.Contains(client, " cmd=xread ") {
			continue
		}
		if _, err := redisAsk(ctx, s.Addr, "CLIENT KILL ID "+id); err != nil {
			return err
		}
	}
	return nil
}

// redisReady asks for a PONG. A refusal for want of a login is an answer too,
// the one that says it is still loading its data is not.
func redisReady(ctx context.Context, addr string) error {
	line, err := redisAsk(ctx, addr, "PING")
	if err != nil {
		return err
	}
	if strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH") {
		return nil
	}
	return fmt.Errorf("redis answers %q", line)
}

// Entries reads a stream whole: the fields of each entry.
func Entries(t testing.TB, url, stream string) (all []map[string]string) {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal("the URL of Redis cannot be parsed") // it may hold a login
	}
	c := redis.NewClient(o)
	defer c.Close() //nolint:errcheck // nothing was written
	got, err := c.XRange(context.Background(), stream, "-", "+").Result()
	if err != nil {
		t.Fatalf("read the stream %s: %v", stream, err)
	}
	for _, m := range got {
		one := map[string]string{}
		for name, v := range m.Values {
			one[name], _ = v.(string)
		}
		all = append(all, one)
	}
	return all
}

// redisAsk gives an answer of one line, or the text that its first line announces.
func redisAsk(ctx context.Context, addr, command string) (string, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if at, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(at) // the connection is new
	}
	if _, err := c.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	answer := bufio.NewReader(c)
	line, err := answer.ReadString('\n')
	if n, announced := strings.CutPrefix(line, "$"); announced && err == nil {
		length, err := strconv.Atoi(strings.TrimSpace(n))
		text := make([]byte, max(length, 0))
		_, last := io.ReadFull(answer, text)
		return string(text), errors.Join(err, last)
	}
	return line, err
}
