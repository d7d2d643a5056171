package web

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
)

// maxForwarded is how many entries of X-Forwarded-For are looked at.
const maxForwarded = 20

// ClientAddress is the address of the client, without a port, or "" outside a
// request. Behind proxies that the configuration trusts it is the last address
// that one of them vouches for.
func ClientAddress(ctx context.Context) string {
	x := exchangeFrom(ctx)
	if x == nil || !x.client.IsValid() {
		return ""
	}
	return x.client.String()
}

// clientAddress walks from the peer to the left through X-Forwarded-For, as
// long as what it stands on is trusted.
func (r *Router) clientAddress(req *http.Request) netip.Addr {
	peer := parseAddress(req.RemoteAddr)
	if !r.trusted(peer) {
		return peer
	}
	entries := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
	client := peer
	for i := len(entries) - 1; i >= max(0, len(entries)-maxForwarded); i-- {
		next := parseAddress(strings.TrimSpace(entries[i]))
		if !next.IsValid() {
			break
		}
		if client = next; !r.trusted(next) {
			break
		}
	}
	return client
}

func (r *Router) trusted(a netip.Addr) bool {
	for _, p := range r.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseAddress reads an address with or without a port, in one form: no zone,
// and IPv4 never inside IPv6.
func parseAddress(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// limitKey is what a limit per address counts by. Whoever has one IPv6 address
// has its whole /64.
func limitKey(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
