package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/nova-chat/nova/client"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/web"
)

// Version is the version of this build, as the Go tool recorded it. That of a
// mutant says which one it is.
func Version() string {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	if mutant.Name != "" {
		version += " MUTANT " + mutant.Name
	}
	return version
}

// listenAdmin binds the operator's listener. It opens first and closes last, so
// that metrics and health can be read during the whole life of the process.
func (a *App) listenAdmin(ctx context.Context) error {
	r := web.NewRouter(a.obs, web.Config{Listener: web.Admin, Version: Version(), RequestsPerUser: rateOf(a.cfg.Limits.RequestsPerUser)}, nil)
	a.adminRoutes(r)
	var err error
	a.admin, err = web.Serve(ctx, a.obs, a.group, web.ServeOptions{Name: web.Admin, Addr: a.cfg.ListenAdmin, Handler: r})
	return bound("listen_admin", err)
}

func (a *App) adminRoutes(r *web.Router) {
	r.Handle(fixed("admin.metrics", "/metrics", "Metrics for Prometheus"), a.obs.Metrics.Handler())
	a.healthRoutes(r)
	r.Handle(fixed("admin.profiles", "/debug/pprof", "Profiles"), http.HandlerFunc(pprof.Index))
	r.Handle(get("admin.profile", "/debug/pprof/{profile}", "One profile"), http.HandlerFunc(profile))
	web.Register(r, get("admin.build", "/build", "Version and build of the binary"), a.getBuild)
	web.Register(r, get("admin.config", "/config", "Configuration in force, without what must not be seen"), a.getConfig)
	drain := get("admin.drain", "/drain", "Begin a graceful shutdown")
	drain.Method, drain.Status = http.MethodPost, http.StatusAccepted
	web.Register(r, drain, a.postDrain)
}

func get(op, path, summary string) web.Route {
	return web.Route{Service: obs.Process, Op: op, Method: http.MethodGet, Path: path, Access: web.Anyone, Summary: summary, Status: http.StatusOK}
}

// fixed is get of what takes no parameters and refuses nothing.
func fixed(op, path, summary string) web.Route {
	rt := get(op, path, summary)
	rt.Fixed = true
	return rt
}

// profile serves one profile; the command line is left out, since it may hold
// what must not be seen.
func profile(w http.ResponseWriter, req *http.Request) {
	switch req.PathValue("profile") {
	case "cmdline":
		web.Problem(w, req, fault.New(fault.CodeNotFound, "The command line is not shown."))
	case "profile":
		pprof.Profile(w, req)
	case "symbol":
		pprof.Symbol(w, req)
	case "trace":
		pprof.Trace(w, req)
	default:
		pprof.Index(w, req)
	}
}

type buildOutput struct {
	Body struct {
		Version  string            `json:"version"`
		Go       string            `json:"go"`
		Settings map[string]string `json:"settings"`
	}
}

func (a *App) getBuild(context.Context, *struct{}) (*buildOutput, error) {
	out := new(buildOutput)
	out.Body.Version, out.Body.Settings = Version(), map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		out.Body.Go = info.GoVersion
		for _, s := range info.Settings {
			if strings.HasPrefix(s.Key, "vcs") || s.Key == "GOARCH" || s.Key == "GOOS" {
				out.Body.Settings[s.Key] = s.Value
			}
		}
	}
	return out, nil
}

type configOutput struct {
	Body map[string]string
}

func (a *App) getConfig(context.Context, *struct{}) (*configOutput, error) {
	out := &configOutput{Body: map[string]string{}}
	for _, e := range a.cfg.Entries(nil) {
		out.Body[e.Key] = e.Value
	}
	return out, nil
}

type drainOutput struct {
	Body struct {
		Draining bool `json:"draining"`
	}
}

func (a *App) postDrain(context.Context, *struct{}) (*drainOutput, error) {
	a.ask(nil)
	out := new(drainOutput)
	out.Body.Draining = true
	return out, nil
}

// healthRoutes say whether the process lives, and whether it may get traffic.
func (a *App) healthRoutes(r *web.Router) {
	web.Register(r, get("health.live", "/healthz", "The process lives"), func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{Status: http.StatusOK, Body: health{Status: "ok"}}, nil
	})
	ready := get("health.ready", "/readyz", "The process may receive traffic")
	ready.AlsoStatus = []int{http.StatusServiceUnavailable}
	web.Register(r, ready, func(context.Context, *struct{}) (*healthOutput, error) {
		if reason := a.ready.get(); reason != "" {
			return &healthOutput{Status: http.StatusServiceUnavailable, Body: health{Status: "not ready", Reasons: []string{reason}}}, nil
		}
		return &healthOutput{Status: http.StatusOK, Body: health{Status: "ready", Degraded: a.away()}}, nil
	})
}

type health struct {
	Status   string   `json:"status"`
	Reasons  []string `json:"reasons,omitempty" doc:"Why it may not."`
	Degraded []string `json:"degraded,omitempty" doc:"What is away without which it may."`
}

// away lists what cannot be reached and is not needed for the main work.
func (a *App) away() (all []string) {
	for _, ask := range a.degraded {
		if what := ask(); what != "" && !slices.Contains(all, what) {
			all = append(all, what)
		}
	}
	return all
}

type healthOutput struct {
	Status int
	Body   health
}

// listenPublic binds the listener that clients use, and not before the process is
// ready for them: to a bound port the system takes connections, and whoever is
// behind one, a proxy too, would wait instead of going elsewhere.
func (a *App) listenPublic(ctx context.Context) error {
	var r *web.Router
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.ServeHTTP(w, req) })
	var err error
	a.public, err = web.Serve(ctx, a.obs, a.group, web.ServeOptions{Name: "public", Addr: a.cfg.ListenPublic, Handler: handler})
	if err != nil {
		return bound("listen_public", err)
	}
	// The port may be chosen by the system, and the origins contain it.
	r = a.publicRouter(origins(a.public.Addr(), a.cfg.Origins))
	a.originAllowed = func(origin string) bool { return r.OriginAllowed(origin, nil) }
	return r.Files(client.Files())
}

func (a *App) publicRouter(origins []string) *web.Router {
	r := web.NewRouter(a.obs, web.Config{
		Listener: "public", Version: Version(), TrustedProxies: a.cfg.TrustedProxies, Origins: origins,
		RequestsPerUser: rateOf(a.cfg.Limits.RequestsPerUser), Document: wholeDocument, Peers: a.peers,
	}, a.verifier)
	a.healthRoutes(r)
	a.routes(r, a.cfg.Local)
	return r
}

// wholeDocument tells of all services, also in a process that runs some of them:
// to clients they are one server.
func wholeDocument() ([]byte, error) {
	_, r, err := Catalogue(config.Default())
	if err != nil {
		return nil, err
	}
	return r.OpenAPI()
}

// origins are the pages that may open sockets: the listener's own address, in
// the spellings of loopback too, and those that were configured.
func origins(addr net.Addr, configured []string) []string {
	all := slices.Clone(configured)
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return all
	}
	hosts := []string{host}
	if ip := net.ParseIP(host); ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		hosts = []string{"127.0.0.1", "localhost", "::1"}
	}
	for _, h := range hosts {
		all = append(all, "http://"+net.JoinHostPort(h, port))
	}
	return all
}

// Catalogue is the metrics and the routes of a process with that configuration,
// without starting anything: for documents, budgets and the audit.
func Catalogue(cfg config.Config) (*obs.Metrics, *web.Router, error) {
	o, err := obs.New(obs.Config{Services: cfg.Services})
	if err != nil {
		return nil, nil, fmt.Errorf("catalogue: %w", err)
	}
	o.Metrics.Calls(obs.Auth) // the one service that others call
	if !cfg.Local(obs.Auth) {
		o.Metrics.Wire()
	}
	if cfg.RPCIdentity != "" {
		o.Metrics.Certificates()
	}
	a := &App{obs: o}
	admin := web.NewRouter(o, web.Config{Listener: web.Admin, Version: Version(), RequestsPerUser: limit.Rate{PerSecond: 1, Burst: 1}}, nil)
	a.adminRoutes(admin)
	r := web.NewRouter(o, web.Config{Listener: "public", Version: Version(), RequestsPerUser: limit.Rate{PerSecond: 1, Burst: 1}}, nil)
	a.healthRoutes(r)
	a.routes(r, cfg.Local)
	if err := r.Files(client.Files()); err != nil {
		return nil, nil, err
	}
	return o.Metrics, r, nil
}
