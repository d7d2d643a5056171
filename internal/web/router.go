package web

import (
	"io/fs"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
)

// Admin is the name of the operator's listener. Its routes carry the name in
// their metrics, so that both listeners may serve the same path, and it has no
// documents.
const Admin = "admin"

// Config is what a router needs to know.
type Config struct {
	Listener        string         // "public" or [Admin]
	Version         string         // for the OpenAPI document
	TrustedProxies  []netip.Prefix // peers whose X-Forwarded-For is believed
	Origins         []string       // exact origins, for [Router.OriginAllowed]
	RequestsPerUser limit.Rate     // on routes for signed-in callers
	Peers           *limit.Peers   // with which that limit is shared; nil = this process is alone
	BodyTimeout     time.Duration  // from the head of a request to the end of its body; default 10 s
	HandlerTimeout  time.Duration  // for a registered function; default 30 s
	// Document gives the OpenAPI document, where it has to tell of routes that other
	// processes answer; nil = the router's own routes.
	Document func() ([]byte, error)
}

// Router is the HTTP edge of one listener: an http.Handler. Routes are added
// before it serves.
type Router struct {
	obs      *obs.Obs
	cfg      Config
	verifier *token.Verifier
	perUser  *limit.Limiter
	inFlight atomic.Int64

	mux     *http.ServeMux
	entries map[string]*entry // by registered path
	files   *endpoint         // the web client, if there is one
	assets  assets

	api      huma.API
	adding   *endpoint // the endpoint that huma is being told about
	document func() ([]byte, error)
}

// NewRouter makes a router. v may be nil on a router that only makes documents
// or has no route that asks for an identity.
func NewRouter(o *obs.Obs, cfg Config, v *token.Verifier) *Router {
	if cfg.BodyTimeout <= 0 {
		cfg.BodyTimeout = 10 * time.Second
	}
	if cfg.HandlerTimeout <= 0 {
		cfg.HandlerTimeout = 30 * time.Second
	}
	r := &Router{
		obs: o, cfg: cfg, verifier: v, mux: http.NewServeMux(), entries: map[string]*entry{},
		perUser: cfg.Peers.New(o, obs.LimitRequestsPerUser, cfg.RequestsPerUser),
	}
	r.api = newAPI(r)
	if cfg.Document == nil {
		cfg.Document = r.makeDocument
	}
	r.document = sync.OnceValues(cfg.Document)
	r.mux.HandleFunc("/", r.unmatched)
	if cfg.Listener != Admin {
		o.Metrics.HTTPInFlight.Pull(func() float64 { return float64(r.inFlight.Load()) })
		r.addPages()
	}
	return r
}

// Handle adds a raw handler: it writes its own answer, reads its own body, and
// may take over the connection. Everything around it is as for [Register].
func (r *Router) Handle(rt Route, h http.Handler) {
	if rt.Status == 0 {
		rt.Status = http.StatusOK
	}
	ep := r.add(rt)
	ep.handle = h.ServeHTTP
	r.describe(rt)
}

// Files serves the files of a web client at "/", and nothing else: a page for
// every unknown path would make it look as if there were something there.
func (r *Router) Files(fsys fs.FS) error {
	loaded, err := loadAssets(fsys)
	if err != nil {
		return err
	}
	rt := Route{Service: obs.Process, Op: "client.file", Method: http.MethodGet, Path: "/", Status: http.StatusOK, AlsoStatus: []int{http.StatusNotModified}}
	rt.check()
	r.assets = loaded
	r.files = r.newEndpoint(rt)
	r.files.handle = r.serveFile
	return nil
}

// OriginAllowed says whether an Origin header (RFC 6454) is exactly one of
// [Config.Origins].
func (r *Router) OriginAllowed(origin string, _ *http.Request) bool {
	return slices.Contains(r.cfg.Origins, origin)
}

// endpoint is one method of one path.
type endpoint struct {
	router *Router
	route  Route
	metric *obs.Route
	handle http.HandlerFunc
}

// entry is one path with all its methods.
type entry struct {
	router  *Router
	methods map[string]*endpoint
	allow   string
}

func (r *Router) newEndpoint(rt Route) *endpoint {
	label := rt.Path
	if r.cfg.Listener == Admin {
		label = Admin + ":" + label
	}
	return &endpoint{router: r, route: rt, metric: r.obs.Metrics.Route(rt.Method, label, rt.classes()...)}
}

func (r *Router) add(rt Route) *endpoint {
	if rt.MaxBody == 0 {
		rt.MaxBody = defaultMaxBody
	}
	rt.check()
	ep := r.newEndpoint(rt)
	e := r.entries[rt.Path]
	if e == nil {
		e = &entry{router: r, methods: map[string]*endpoint{}}
		r.entries[rt.Path] = e
		r.mux.Handle(rt.Path, e)
	}
	e.methods[rt.Method] = ep
	var allowed []string
	for m := range e.methods {
		allowed = append(allowed, m)
	}
	slices.Sort(allowed)
	e.allow = strings.Join(allowed, ", ")
	return ep
}

// ServeHTTP is called by the mux once it has found the path.
func (e *entry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ep := e.methods[req.Method]
	if ep == nil {
		refuseMethod(w, req, e.allow)
		return
	}
	ep.serve(w, req)
}

func refuseMethod(w http.ResponseWriter, req *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	Problem(w, req, fault.New(fault.CodeMethodNotAllowed, "This path answers "+allow+"."))
}

// unmatched answers what no route has: the web client's files, or 404.
func (r *Router) unmatched(w http.ResponseWriter, req *http.Request) {
	if r.files == nil || isAPI(req.URL.Path) {
		notFound(w, req)
		return
	}
	if req.Method != http.MethodGet {
		refuseMethod(w, req, http.MethodGet)
		return
	}
	r.files.serve(w, req)
}

func notFound(w http.ResponseWriter, req *http.Request) {
	Problem(w, req, fault.New(fault.CodeNotFound, "Nothing answers to this path."))
}
