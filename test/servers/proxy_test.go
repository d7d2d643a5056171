package servers_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/nova-chat/nova/test/servers"
)

// echo answers each connection with what it sends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a byte and waits for it to come back.
func ask(c net.Conn, patience time.Duration) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

const soon, late = 200 * time.Millisecond, 20 * time.Second

func TestProxyCutsSilently(t *testing.T) {
	p := servers.StartProxy(t, echo(t))
	c := dial(t, p.Addr)
	if err := ask(c, late); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	for what, c := range map[string]net.Conn{"open": c, "new": dial(t, p.Addr)} {
		if err := ask(c, soon); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an %s connection that is cut: %v", what, err)
		}
	}
	p.Restore()
	if err := ask(dial(t, p.Addr), late); err != nil {
		t.Error(err)
	}
	c.SetReadDeadline(time.Now().Add(late))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that was cut goes on: %v", err)
	}
}

func TestProxyResets(t *testing.T) {
	p := servers.StartProxy(t, echo(t))
	c := dial(t, p.Addr)
	if err := ask(c, late); err != nil {
		t.Fatal(err)
	}
	p.Reset()
	if err := ask(c, late); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("an open connection: %v", err)
	}
	if err := ask(dial(t, p.Addr), late); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection: %v", err)
	}
	p.Restore()
	if err := ask(dial(t, p.Addr), late); err != nil {
		t.Error(err)
	}
}

func TestProxyRefuses(t *testing.T) {
	p := servers.StartProxy(t, echo(t))
	c := dial(t, p.Addr)
	p.Refuse()
	if err := ask(c, late); err == nil {
		t.Error("an open connection goes on")
	}
	if _, err := net.Dial("tcp", p.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection: %v", err)
	}
	p.Restore()
	if err := ask(dial(t, p.Addr), late); err != nil {
		t.Error(err)
	}
}

func TestProxySlows(t *testing.T) {
	p := servers.StartProxy(t, echo(t))
	c := dial(t, p.Addr)
	const delay = 300 * time.Millisecond
	p.Latency(delay)
	at := time.Now()
	if err := ask(c, late); err != nil || time.Since(at) < delay {
		t.Errorf("an answer after %v, %v", time.Since(at), err)
	}
	p.Restore()
	if err := ask(c, late); err != nil {
		t.Errorf("a connection that was slow: %v", err)
	}
}
