package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// The pages for people: a viewer of the OpenAPI document and a page for each
// error code. They load nothing from elsewhere.
//
//go:embed pages
var pageFiles embed.FS

var pageTemplates = template.Must(template.ParseFS(pageFiles, "pages/*.tmpl"))

// addPages adds the documents of a public router.
func (r *Router) addPages() {
	page := func(op, path string, h http.HandlerFunc) {
		r.Handle(Route{Service: obs.Process, Op: op, Method: http.MethodGet, Path: path, AlsoStatus: []int{http.StatusNotModified}}, h)
	}
	page("docs.openapi", "/openapi.json", r.serveDocument)
	page("docs.view", "/docs", func(w http.ResponseWriter, req *http.Request) { servePage(w, req, "docs.html") })
	page("docs.file", "/docs/{file}", func(w http.ResponseWriter, req *http.Request) { servePage(w, req, req.PathValue("file")) })
	page("docs.errors", "/errors", serveErrors)
	page("docs.error", "/errors/{code}", serveError)
}

func (r *Router) serveDocument(w http.ResponseWriter, req *http.Request) {
	body, err := r.OpenAPI()
	if err != nil {
		Problem(w, req, err)
		return
	}
	newAsset("openapi.json", body).serve(w, req)
}

func servePage(w http.ResponseWriter, req *http.Request, name string) {
	body, err := pageFiles.ReadFile("pages/" + name)
	if a := newAsset(name, body); err == nil && a.kind != kindUnknown {
		a.serve(w, req)
		return
	}
	notFound(w, req)
}

// errorPage is what a template shows of a code.
type errorPage struct {
	Code, Title, Remedy string
	Status              int
	StatusText          string
	Retryable           bool
	FramesOnly          bool
}

func pageOf(c fault.Code) errorPage {
	text := http.StatusText(StatusOf(c))
	if StatusOf(c) == statusGone {
		text = "Client Closed Request"
	}
	return errorPage{
		Code: c.String(), Title: c.Title(), Remedy: c.Remedy(), Status: StatusOf(c), StatusText: text, Retryable: c.Retryable(),
		FramesOnly: c == fault.CodeUnknownOp || c == fault.CodeBadFrame,
	}
}

func serveErrors(w http.ResponseWriter, req *http.Request) {
	var all []errorPage
	for _, c := range fault.Codes() {
		all = append(all, pageOf(c))
	}
	render(w, req, "errors.tmpl", all)
}

func serveError(w http.ResponseWriter, req *http.Request) {
	code, ok := fault.ParseCode(req.PathValue("code"))
	if !ok {
		notFound(w, req)
		return
	}
	render(w, req, "error.tmpl", pageOf(code))
}

func render(w http.ResponseWriter, req *http.Request, name string, data any) {
	var body bytes.Buffer
	if err := pageTemplates.ExecuteTemplate(&body, name, data); err != nil {
		Problem(w, req, fmt.Errorf("page %s: %w", name, err))
		return
	}
	newAsset("page.html", body.Bytes()).serve(w, req)
}
