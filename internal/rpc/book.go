package rpc

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
)

const (
	resolveEvery = 30 * time.Second // names may get other addresses
	resolveMost  = time.Second      // not more often than this, however many connections fail
	resolveTime  = 5 * time.Second  // for one look-up
)

// book is the addresses of one service, as gRPC is told them: the configured
// ones, names resolved, without those that are set aside. It is a resolver.
type book struct {
	listed []string // HOST:PORT
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	wake   chan struct{} // there is something to do

	mu     sync.Mutex // guards what follows
	conn   resolver.ClientConn
	known  map[string][]netip.AddrPort // by listed address; kept while a name cannot be resolved
	peers  map[netip.AddrPort]*breaker
	looked time.Time
	told   bool // that open is what gRPC knows
	open   []netip.AddrPort
}

func newBook(addrs []string) *book {
	return &book{
		listed: addrs, lookup: net.DefaultResolver.LookupNetIP, wake: make(chan struct{}, 1),
		known: map[string][]netip.AddrPort{}, peers: map[netip.AddrPort]*breaker{},
	}
}

// scheme is the one of the targets that a book resolves.
const scheme = "nova"

// Scheme is part of resolver.Builder.
func (b *book) Scheme() string { return scheme }

// Build is part of resolver.Builder; gRPC calls it once, from Connect.
func (b *book) Build(_ resolver.Target, conn resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	b.mu.Lock()
	b.conn, b.told = conn, false
	b.mu.Unlock()
	b.ResolveNow(resolver.ResolveNowOptions{})
	return b, nil
}

// ResolveNow is part of resolver.Resolver: a connection failed.
func (b *book) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Close is part of resolver.Resolver.
func (b *book) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn = nil
}

// keep looks names up and tells gRPC, until ctx ends.
func (b *book) keep(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for asked := true; ; {
		wait := b.lookIn(time.Now(), asked)
		if wait <= 0 {
			b.refresh(ctx)
			asked, wait = false, resolveEvery
		}
		again.Reset(min(wait, b.tell(time.Now())))
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
			asked = true
		case <-again.C:
		}
	}
}

// lookIn says how long it is until names are to be looked up.
func (b *book) lookIn(now time.Time, asked bool) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	every := resolveEvery
	if asked {
		every = resolveMost
	}
	return every - now.Sub(b.looked)
}

// refresh looks up the names. One that cannot be resolved keeps what it had.
func (b *book) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	found := map[string][]netip.AddrPort{}
	for _, addr := range b.listed {
		if all := b.resolve(ctx, addr); len(all) > 0 {
			found[addr] = all
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looked = time.Now()
	maps.Copy(b.known, found)
}

func (b *book) resolve(ctx context.Context, addr string) (all []netip.AddrPort) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil // Dial has refused it
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil
	}
	ips, err := b.lookup(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for _, ip := range ips {
		all = append(all, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return all
}

// tell gives gRPC the addresses, if they are others than before, and says when
// the next is to be let in again. Without any, calls are unavailable at once.
//
// What did not change is not told: a failed connection asks for news, and news
// would make gRPC try again without a pause.
func (b *book) tell(now time.Time) (next time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next = resolveEvery
	var open []netip.AddrPort
	for _, addr := range b.current() {
		if wait := b.peers[addr].closedIn(now); wait > 0 {
			next = min(next, wait)
		} else {
			open = append(open, addr)
		}
	}
	if b.conn == nil || b.told && slices.Equal(open, b.open) {
		return next
	}
	b.told, b.open = true, open
	var state resolver.State
	for _, addr := range open {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr.String()}}})
	}
	_ = b.conn.UpdateState(state) // an error says that the list is empty
	return next
}

// current is every address there is now, each with its breaker.
func (b *book) current() []netip.AddrPort {
	all := map[netip.AddrPort]bool{}
	for _, of := range b.known {
		for _, addr := range of {
			all[addr] = true
			if b.peers[addr] == nil {
				b.peers[addr] = &breaker{}
			}
		}
	}
	maps.DeleteFunc(b.peers, func(addr netip.AddrPort, _ *breaker) bool { return !all[addr] })
	return slices.SortedFunc(maps.Keys(all), netip.AddrPort.Compare)
}

// answered notes that a call to addr got an answer, whatever it said.
func (b *book) answered(addr netip.AddrPort) {
	if p := b.peer(addr); p != nil {
		p.success()
	}
}

// silent notes that a call to addr got none in time, and says whether the
// address is set aside for it.
func (b *book) silent(addr netip.AddrPort) bool {
	p := b.peer(addr)
	if p == nil || !p.failure(time.Now()) {
		return false
	}
	b.ResolveNow(resolver.ResolveNowOptions{})
	return true
}

func (b *book) peer(addr netip.AddrPort) *breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peers[addr]
}
