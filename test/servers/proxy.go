package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxy is a TCP proxy in this process whose connections can be cut, reset and
// slowed. It works without rights on the network. One fault holds at a time: the
// next one replaces it.
type Proxy struct {
	// Addr is where it listens, on loopback, the same for ever.
	Addr string

	mu     sync.Mutex
	proxy  *toxiproxy.Proxy
	report func(error)
}

// NewProxy starts a proxy to the address.
func NewProxy(upstream string) (*Proxy, error) {
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxy{Addr: addrs[0], proxy: toxiproxy.NewProxy(server, upstream, addrs[0], upstream)}
	if err := p.proxy.Start(); err != nil {
		return nil, fmt.Errorf("start a proxy: %w", err)
	}
	return p, nil
}

// newProxies starts a proxy to each address.
func newProxies(upstreams []string) (all []*Proxy, err error) {
	for _, upstream := range upstreams {
		p, err := NewProxy(upstream)
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

// StartProxy starts a proxy that ends with the test.
func StartProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p, err := NewProxy(upstream)
	if err != nil {
		t.Fatal(err)
	}
	p.report = func(err error) { t.Error(err) }
	t.Cleanup(p.Close)
	return p
}

// Cut lets nothing through any more, in neither direction, and says so to
// nobody: open connections stay open, new ones are accepted and stay silent.
// What is lost does not come again: Restore ends the connections that were cut.
func (p *Proxy) Cut() error {
	return p.fault("cut", "timeout", map[string]int64{"timeout": 0})
}

// Reset loses what comes next on each connection and ends it: a new one with a
// TCP reset, one that was open before with a reset or in order.
func (p *Proxy) Reset() error {
	return p.fault("reset", "reset_peer", map[string]int64{"timeout": 0})
}

// Latency delays each direction by half of the round trip.
func (p *Proxy) Latency(roundTrip time.Duration) error {
	return p.fault("slow", "latency", map[string]int64{"latency": roundTrip.Milliseconds() / 2})
}

// Refuse ends all connections and takes no new ones.
func (p *Proxy) Refuse() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.heal()
	p.proxy.Stop()
	return p.done("refuse", err)
}

// Restore ends the fault.
func (p *Proxy) Restore() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done("restore", p.heal())
}

// Close ends all connections and the listener.
func (p *Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxy.Stop()
}

// heal takes away what fault has put in.
func (p *Proxy) heal() error {
	p.proxy.Toxics.ResetToxics(context.Background())
	if err := p.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return err
	}
	return nil
}

// fault replaces the present fault, in both directions.
func (p *Proxy) fault(what, kind string, attributes map[string]int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.heal()
	for _, stream := range []string{"upstream", "downstream"} {
		text, err1 := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": attributes})
		_, err2 := p.proxy.Toxics.AddToxicJson(strings.NewReader(string(text)))
		err = errors.Join(err, err1, err2)
	}
	return p.done(what, err)
}

func (p *Proxy) done(what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s the connections through a proxy: %w", what, err)
	if p.report != nil {
		p.report(err)
	}
	return err
}
