package servers_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nova-chat/nova/test/servers"
)

func client(t *testing.T, addr string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(addr)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries, o.ContextTimeoutEnabled = -1, true
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRedisDatabasesAreApart(t *testing.T) {
	ctx := t.Context()
	first, second := client(t, servers.Redis(t)), client(t, servers.Redis(t))
	if err := first.Set(ctx, "mark", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := second.DBSize(ctx).Result(); n != 0 || err != nil {
		t.Errorf("the second database has %d entries, %v", n, err)
	}
}

func TestRedisDatabaseIsEmptied(t *testing.T) {
	var used string
	t.Run("holder", func(t *testing.T) {
		used = servers.Redis(t)
		if err := client(t, used).Set(t.Context(), "mark", "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
	})
	if used == "" {
		t.Skip("no Redis")
	}
	again := servers.Redis(t)
	if n, err := client(t, again).DBSize(t.Context()).Result(); n != 0 || err != nil {
		t.Errorf("%d entries are left, %v", n, err)
	}
}

func TestRedisSurvivesWithAOF(t *testing.T) {
	for _, aof := range []bool{true, false} {
		s := servers.StartRedis(t, servers.RedisOptions{AOF: aof})
		c := client(t, s.URL)
		if err := c.Set(t.Context(), "mark", "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Kill(), s.Start()); err != nil {
			t.Fatal(err)
		}
		n, err := client(t, s.URL).Exists(t.Context(), "mark").Result()
		if err != nil || (n == 1) != aof {
			t.Errorf("AOF %v: %d entries after a kill, %v", aof, n, err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err := client(t, s.URL).DBSize(t.Context()).Result(); n != 0 || err != nil {
			t.Errorf("AOF %v: %d entries after it was emptied, %v", aof, n, err)
		}
	}
}

func TestRedisReadersAreEnded(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	reader, other := client(t, s.URL).Conn(), client(t, s.URL).Conn()
	if err := other.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- reader.XRead(t.Context(), &redis.XReadArgs{Streams: []string{"s", "$"}, Block: time.Minute}).Err()
	}()
	for len(ended) == 0 { // until it waits
		if err := s.EndReaders(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err == nil {
		t.Error("a reader went on reading")
	}
	if err := other.Ping(t.Context()).Err(); err != nil {
		t.Errorf("who does not read was ended too: %v", err)
	}
}

func TestRedisPaused(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{})
	c := client(t, s.URL)
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx).Err(); !isTimeout(err) {
		t.Errorf("a paused server: %v", err)
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := client(t, s.URL).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestRedisArgs(t *testing.T) {
	s := servers.StartRedis(t, servers.RedisOptions{Args: []string{"--requirepass", "x"}})
	if err := client(t, s.URL).Ping(t.Context()).Err(); err == nil {
		t.Error("no login is needed")
	}
	c := client(t, "redis://:x@"+s.Addr)
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
