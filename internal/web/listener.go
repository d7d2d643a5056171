package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

const (
	headTimeout = 5 * time.Second
	idleTimeout = 120 * time.Second
	maxHead     = 64 << 10 // bytes
)

// ServeOptions say what a listener serves, and where.
type ServeOptions struct {
	Name        string // in logs and steps: "public" or [Admin]
	Addr        string // host:port; port 0 finds a free one
	Handler     http.Handler
	MaxConns    int           // open connections at once, without those that were taken over; 0 = no cap
	StopTimeout time.Duration // for requests that run when it stops; default 10 s
}

// Listener is a bound port that does not accept before [Listener.Start]. Make
// one with [Serve].
type Listener struct {
	obs    *obs.Obs
	group  *run.Group
	name   string
	ln     net.Listener
	server *http.Server
	start  sync.Once
	done   chan struct{} // closed when nothing more is accepted
}

// Serve binds the address and adds the step that stops it to g: nothing new is
// accepted, what runs may finish, then the rest is cut. Connections that were
// taken over (WebSockets) are not its business.
func Serve(ctx context.Context, o *obs.Obs, g *run.Group, opts ServeOptions) (*Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", opts.Name, err)
	}
	if opts.StopTimeout <= 0 {
		opts.StopTimeout = 10 * time.Second
	}
	l := &Listener{obs: o, group: g, name: opts.Name, ln: newGate(ln, opts.MaxConns), done: make(chan struct{})}
	l.server = &http.Server{
		Handler:           opts.Handler,
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          slog.NewLogLogger(complaints{o}, slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return context.Background() }, // outlives signals
		ConnContext:       connContext,
		// The router answers OPTIONS * like every other method that it lacks.
		DisableGeneralOptionsHandler: true,
	}
	g.OnStop("listener "+opts.Name, opts.StopTimeout, l.stop)
	return l, nil
}

// Addr is the bound address.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Start begins to accept. Further calls do nothing.
func (l *Listener) Start() {
	l.start.Do(func() {
		l.group.Go(context.Background(), "listener "+l.name, func(ctx context.Context) {
			defer close(l.done)
			if err := l.server.Serve(l.ln); !errors.Is(err, http.ErrServerClosed) {
				l.obs.Log(obs.Process).LogAttrs(ctx, slog.LevelError, "a listener ended", slog.String("listener", l.name), obs.Cause(err))
			}
		})
	})
}

// Close does before its turn what the group would do when it stops.
func (l *Listener) Close(ctx context.Context) error { return l.stop(ctx) }

func (l *Listener) stop(ctx context.Context) error {
	l.start.Do(func() { close(l.done) }) // never started
	err := l.server.Shutdown(ctx)
	_ = l.ln.Close() // Shutdown does not know a listener that was never served
	if err != nil {
		_ = l.server.Close()
		return fmt.Errorf("listener %s: requests were cut off: %w", l.name, err)
	}
	<-l.done
	return nil
}

// complaints is where net/http writes what it has nobody to tell. Its texts
// hold addresses and may hold what a client sent, so they become causes, which
// pass the redactor.
type complaints struct{ obs *obs.Obs }

// Enabled is part of slog.Handler.
func (complaints) Enabled(context.Context, slog.Level) bool { return true }

// Handle is part of slog.Handler.
func (c complaints) Handle(ctx context.Context, r slog.Record) error {
	c.obs.Log(obs.Process).LogAttrs(ctx, slog.LevelWarn, "the HTTP server complains", obs.Cause(errors.New(r.Message)))
	return nil
}

// WithAttrs is part of slog.Handler.
func (c complaints) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup is part of slog.Handler.
func (c complaints) WithGroup(string) slog.Handler { return c }
