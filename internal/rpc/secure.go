package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/obs"
)

// mutual is TLS with certificates on both ends, as they are at each handshake.
type mutual struct {
	obs     *obs.Obs
	metrics *obs.Certificates
	source  *certs.Source
	called  obs.Service // Process for connections that come in
}

// security is what protects connections; without certificates nothing does, and
// only loopback addresses are allowed.
func security(o *obs.Obs, source *certs.Source, called obs.Service) credentials.TransportCredentials {
	if source == nil {
		return insecure.NewCredentials()
	}
	return mutual{o, o.Metrics.Certificates(), source, called}
}

// ClientHandshake is part of credentials.TransportCredentials. The other end must
// be the service, whatever the connection's target is called.
func (m mutual) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := credentials.NewTLS(m.source.Client(m.called)).ClientHandshake(ctx, certs.Name(m.called), raw)
	return conn, info, m.judged(ctx, err)
}

// ServerHandshake is part of credentials.TransportCredentials.
func (m mutual) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := credentials.NewTLS(m.source.Server()).ServerHandshake(raw)
	return conn, info, m.judged(context.Background(), err)
}

// judged counts and logs a handshake that failed. A caller comes back every few
// seconds, so the line is sampled.
func (m mutual) judged(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	reason, counts := certs.Refused(err)
	if counts && ctx.Err() == nil {
		if m.obs.Sample(obs.SiteRefusal) {
			m.obs.Log(obs.Process).LogAttrs(ctx, slog.LevelWarn, "no connection between processes", obs.Reason(reason), slog.String("called", m.called.String()),
				slog.String("see", certs.SettingTrusted+" on this side, "+certs.SettingIdentity+" on the other"), obs.Cause(err))
		}
		m.metrics.Refusals.Inc(reason)
	}
	return err
}

// Info is part of credentials.TransportCredentials.
func (m mutual) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone is part of credentials.TransportCredentials.
func (m mutual) Clone() credentials.TransportCredentials { return m }

// OverrideServerName is part of credentials.TransportCredentials. The name is
// that of the service, whatever else somebody wants.
func (m mutual) OverrideServerName(string) error { return nil }

// loopbackOnly refuses addresses that other machines could use.
func loopbackOnly(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("RPC address %q: want HOST:PORT", addr)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("RPC address %q is not a loopback address: between machines calls need certificates, see the settings %s and %s", addr, certs.SettingIdentity, certs.SettingTrusted)
}

// reachable judges an address by what protects the connections to it.
func reachable(addr string, source *certs.Source) error {
	if source == nil {
		return loopbackOnly(addr)
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("RPC address %q: want HOST:PORT", addr)
	}
	return nil
}
