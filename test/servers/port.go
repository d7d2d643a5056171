package servers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range that systems give to outgoing
// connections. From within it a client that keeps dialling a stopped server can
// be given the server's own port, connect to itself, and keep it from starting.
const lowPort, highPort = 15000, 32000

// FreePort returns a loopback port that nobody listens on at this moment.
func FreePort() (int, error) {
	for range 100 {
		port := lowPort + rand.IntN(highPort-lowPort)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("a hundred loopback ports are taken")
}

// freeAddrs returns n different addresses as FreePort finds them.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	seen := map[int]bool{}
	for len(addrs) < n {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		if !seen[port] {
			seen[port] = true
			addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
		}
	}
	return addrs, nil
}

// connects is the readiness of a server of which no more is known.
func connects(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return c.Close()
}
