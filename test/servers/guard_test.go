package servers_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nova-chat/nova/test/servers"
)

// asHolder makes the test binary start servers, say what they are and wait to
// be killed.
const asHolder = "NOVA_TEST_HOLDER"

func TestMain(m *testing.M) {
	if os.Getenv(asHolder) != "" {
		hold()
	}
	servers.Main(m)
}

func hold() {
	p, err1 := servers.NewPostgres(servers.PostgresOptions{})
	r, err2 := servers.NewRedis(servers.RedisOptions{})
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	if err := p.Pause(); err != nil { // a stopped process can still be killed
		os.Exit(1)
	}
	fmt.Println(p.Addr, p.Dir, r.Addr, r.Dir)
	select {}
}

func TestNothingIsLeftOfAKilledTest(t *testing.T) {
	servers.Postgres(t) // skips if it is not there
	servers.Redis(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asHolder+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	what := strings.Fields(line)
	if len(what) != 4 {
		t.Fatal(line)
	}
	if _, err := os.Stat(what[1]); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for _, addr := range []string{what[0], what[2]} {
		until(t, addr+" is free", func() bool {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		})
	}
	for _, dir := range []string{what[1], what[3]} {
		until(t, dir+" is removed", func() bool {
			_, err := os.Stat(dir)
			return errors.Is(err, os.ErrNotExist)
		})
	}
}

// until waits for somebody else's deed, of which nothing tells us.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not true: %s", what)
		}
	}
}

func TestServersEndWithTheirTest(t *testing.T) {
	var s *servers.RedisServer
	t.Run("holder", func(t *testing.T) { s = servers.StartRedis(t, servers.RedisOptions{}) })
	if s == nil {
		t.Skip("no Redis")
	}
	if s.Running() {
		t.Error("it runs after its test")
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is left: %v", err)
	}
}

func TestPortsAreOutsideOfTheRangeOfClients(t *testing.T) {
	for range 20 {
		port, err := servers.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if port < 15000 || port >= 32000 {
			t.Error("port " + strconv.Itoa(port))
		}
	}
}

func TestAServerThatEndsAtOnceIsAnError(t *testing.T) {
	_, err := servers.NewRedis(servers.RedisOptions{Args: []string{"--no-such-option", "1"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") && !strings.Contains(err.Error(), "not on this machine") {
		t.Errorf("the error does not show the log: %v", err)
	}
}
