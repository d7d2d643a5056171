package e2e

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// router stands before the processes of a deployment as a balancer would: it
// gives one connection after the other to the nodes of the service that the
// first line names, and is a wire from then on. So what a test sends reaches the
// process byte by byte, and what the process answers reaches the test.
type router struct {
	ln     net.Listener
	pinned atomic.Bool // always to the first node

	mu    sync.Mutex // guards what follows
	nodes map[obs.Service][]string
	turn  map[obs.Service]int
	open  sync.WaitGroup
}

func newRouter(t *testing.T) *router {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &router{ln: ln, nodes: map[obs.Service][]string{}, turn: map[obs.Service]int{}}
	r.open.Go(r.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		r.open.Wait()
	})
	return r
}

func (r *router) url() string { return "http://" + r.ln.Addr().String() }

// origins are the pages that may open sockets: the router's address, in the
// spellings of loopback.
func (r *router) origins() (all []string) {
	_, port, _ := net.SplitHostPort(r.ln.Addr().String()) // it is one
	for _, host := range []string{"127.0.0.1", "localhost", "::1"} {
		all = append(all, "http://"+net.JoinHostPort(host, port))
	}
	return all
}

// add makes a node known that answers for some services.
func (r *router) add(url string, services []obs.Service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range services {
		r.nodes[s] = append(r.nodes[s], strings.TrimPrefix(url, "http://"))
	}
}

func (r *router) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.open.Go(func() { r.carry(c.(*net.TCPConn)) })
	}
}

// carry is the life of one connection.
func (r *router) carry(client *net.TCPConn) {
	defer client.Close() // both ends are told by then
	head := firstLine(client)
	nc, err := net.Dial("tcp", r.node(serviceOf(head)))
	if err != nil {
		return
	}
	server := nc.(*net.TCPConn)
	defer server.Close() // likewise
	// Whoever reads slowly shall be noticed by the process soon, as without us.
	_ = errors.Join(client.SetWriteBuffer(wireBuffer), server.SetReadBuffer(wireBuffer))
	var wires sync.WaitGroup
	wires.Go(func() {
		_, _ = server.Write(head) // that it failed shows in what follows
		wire(server, client)
	})
	wire(client, server)
	wires.Wait()
}

const wireBuffer = 32 << 10

// wire carries in one direction until one end has had enough.
func wire(to, from *net.TCPConn) {
	_, err := io.Copy(to, from)
	_ = to.CloseWrite() // the other end may be gone
	if err != nil {
		_ = errors.Join(to.Close(), from.Close())
	}
}

// firstLine is what the client said first, at least up to the end of the line if
// it gets that far. Who says nothing for a second is passed on as he is.
func firstLine(c *net.TCPConn) []byte {
	head := make([]byte, 0, 4<<10)
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	defer c.SetReadDeadline(time.Time{}) // the connection is new
	for !bytes.Contains(head, []byte("\n")) && len(head) < cap(head) {
		n, err := c.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if err != nil {
			break
		}
	}
	return head
}

// prefixes say which service answers below which path.
var prefixes = map[string]obs.Service{
	"auth": obs.Auth, "users": obs.User, "conversations": obs.Messaging, "messages": obs.Messaging, "ws": obs.Messaging,
	"devices": obs.Notification, "notifications": obs.Notification, "media": obs.Media,
}

// serviceOf finds whose request it is; what is nobody's goes to messaging.
func serviceOf(head []byte) obs.Service {
	line, _, _ := strings.Cut(string(head), "\n")
	_, path, _ := strings.Cut(line, " ")
	if strings.HasPrefix(path, "/.well-known/jwks.json") {
		return obs.Auth
	}
	rest, _ := strings.CutPrefix(path, "/api/v1/")
	if end := strings.IndexAny(rest, "/? \r"); end >= 0 {
		rest = rest[:end]
	}
	if s, ok := prefixes[rest]; ok {
		return s
	}
	return obs.Messaging
}

// node is whose turn it is.
func (r *router) node(s obs.Service) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.nodes[s]
	if len(all) == 0 {
		return ""
	}
	if r.pinned.Load() {
		return all[0]
	}
	r.turn[s]++
	return all[r.turn[s]%len(all)]
}

// oneByOne sends each request over a connection of its own: the router would
// send the next one to whom it sent the first.
var oneByOne = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (n *node) client() *http.Client {
	if n.router != nil {
		return oneByOne
	}
	return http.DefaultClient
}
