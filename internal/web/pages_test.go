package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nova-chat/nova/internal/fault"
)

type object = map[string]any

// dig walks down a document; a step that is not there fails the test.
func dig(t *testing.T, doc any, steps ...string) any {
	t.Helper()
	for i, s := range steps {
		o, ok := doc.(object)
		if !ok || o[s] == nil {
			t.Fatalf("nothing at %s", strings.Join(steps[:i+1], " > "))
		}
		doc = o[s]
	}
	return doc
}

func openAPI(t *testing.T, e *edge) object {
	t.Helper()
	w := e.call("GET", "/openapi.json", "")
	var doc object
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 200 {
		t.Fatalf("status %d: %v", w.Code, err)
	}
	return doc
}

func TestDocumentDescribesWhatIsServed(t *testing.T) {
	e := newEdge(t, nil)
	doc := openAPI(t, e)
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi %v", doc["openapi"])
	}
	put := dig(t, doc, "paths", "/api/v1/notes/{id}", "put").(object)
	if put["operationId"] != "note.put" || put["summary"] != "Put a note" {
		t.Errorf("operation %v %v", put["operationId"], put["summary"])
	}
	for status, codes := range map[string]string{
		"400": "[bad_request unknown_field bad_id token_in_url]", "409": "[conflict]", "413": "[too_large]", "415": "[unsupported_media_type]",
		"422": "[invalid too_long]", "500": "[internal]", "404": "[not_found]",
	} {
		if got := fmt.Sprint(dig(t, put, "responses", status, "x-codes")); got != codes {
			t.Errorf("%s: codes %s, want %s", status, got, codes)
		}
		schema := dig(t, put, "responses", status, "content", problemType, "schema", "$ref")
		if schema != "#/components/schemas/Problem" {
			t.Errorf("%s: schema %v", status, schema)
		}
	}
	if example := dig(t, put, "requestBody", "content", "application/json", "example", "title"); example != "Tea" {
		t.Errorf("example %v", example)
	}
	dig(t, put, "responses", "200", "content")
	dig(t, put, "responses", "201", "content", "application/json", "example", "id")
	dig(t, doc, "paths", "/api/v1/ws", "get", "responses", "101")
	if sec := fmt.Sprint(dig(t, doc, "paths", "/api/v1/me", "get", "security")); sec != "[map[bearer:[]]]" {
		t.Errorf("security %s", sec)
	}
	if n := len(dig(t, doc, "components", "schemas", "Problem", "properties", "code", "enum").([]any)); n != len(fault.Codes()) {
		t.Errorf("%d codes", n)
	}
}

func TestDocumentHasNoTraceOfTheFramework(t *testing.T) {
	w := newEdge(t, nil).call("GET", "/openapi.json", "")
	for _, trace := range []string{"$schema", "ErrorModel", "huma", "http://", "https://", `"null"`} {
		if strings.Contains(w.Body.String(), trace) {
			t.Errorf("the document holds %s", trace)
		}
	}
	refs := regexp.MustCompile(`"#/components/(schemas|examples)/([^"]+)"`)
	var doc object
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, ref := range refs.FindAllStringSubmatch(w.Body.String(), -1) {
		dig(t, doc, "components", ref[1], ref[2])
	}
}

func TestAnswersCarryNoSchemaLink(t *testing.T) {
	w := newEdge(t, nil).call("PUT", "/api/v1/notes/a", good, "Accept", "application/problem+json")
	if strings.Contains(w.Body.String(), "$schema") || w.Header().Get("Link") != "" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	if !strings.Contains(w.Body.String(), `"items":[]`) {
		t.Errorf("an empty list is not []: %s", w.Body)
	}
}

var loads = regexp.MustCompile(`(?:src|href)="([^"]+)"`)

func TestPagesLoadOnlyFromHere(t *testing.T) {
	e := newEdge(t, nil)
	for _, path := range []string{"/docs", "/errors", "/errors/too_long"} {
		w := e.call("GET", path, "")
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Fatalf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if body := w.Body.String(); strings.Contains(body, "<style") || strings.Contains(body, " style=") || strings.Contains(body, " onclick=") || regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(body) {
			t.Errorf("%s has what the policy forbids", path)
		}
		for _, link := range loads.FindAllStringSubmatch(w.Body.String(), -1) {
			if got := e.call("GET", link[1], "").Code; got != 200 {
				t.Errorf("%s: %s answers %d", path, link[1], got)
			}
		}
	}
	for _, path := range []string{"/docs/error.tmpl", "/docs/nothing.js", "/errors/nothing"} {
		wantProblem(t, e.call("GET", path, ""), 404, fault.CodeNotFound)
	}
}

func TestEveryCodeHasAPage(t *testing.T) {
	e := newEdge(t, nil)
	for _, c := range fault.Codes() {
		w := e.call("GET", "/errors/"+c.String(), "")
		for _, part := range []string{c.String(), c.Title()} {
			if w.Code != 200 || !strings.Contains(w.Body.String(), part) {
				t.Errorf("page of %s: status %d, or no %q", c, w.Code, part)
			}
		}
	}
}

func TestFilesOfTheClient(t *testing.T) {
	e := newEdge(t, nil)
	wantProblem(t, e.call("GET", "/", ""), 404, fault.CodeNotFound)
	err := e.router.Files(fstest.MapFS{
		"index.html": {Data: []byte("<!doctype html>nova")}, "app/main.js": {Data: []byte("go()")}, "logo.svg": {Data: []byte("<svg/>")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "200 text/html; charset=utf-8", "/index.html": "200 text/html; charset=utf-8", "/app/main.js": "200 text/javascript; charset=utf-8",
		"/logo.svg": "200 image/svg+xml", "/c/01ABC": "404 " + problemType, "/metrics": "404 " + problemType, "/debug/pprof": "404 " + problemType, "/missing.js": "404 " + problemType,
		"/api/v2": "404 " + problemType, "/api": "404 " + problemType, "/.env": "404 " + problemType, "/c/../index.html": "404 " + problemType, "/c/": "404 " + problemType,
	} {
		w := e.call("GET", path, "")
		if got := fmt.Sprint(w.Code, " ", w.Header().Get("Content-Type")); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
		if w.Code == 200 && !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s has no policy", path)
		}
	}
	etag := e.call("GET", "/logo.svg", "").Header().Get("ETag")
	if w := e.call("GET", "/logo.svg", "", "If-None-Match", etag); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("a file that the client has: %d", w.Code)
	}
	if w := e.call("POST", "/logo.svg", ""); w.Code != 405 || w.Header().Get("Allow") != "GET" {
		t.Errorf("POST: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestBadRoutesPanicAtStart(t *testing.T) {
	for name, rt := range map[string]Route{
		"op that logs may not hold": {Op: "auth.password", Method: "POST", Path: "/x"},
		"op without area":           {Op: "login", Method: "POST", Path: "/x"},
		"method":                    {Op: "a.b", Method: "HEAD", Path: "/x"},
		"relative path":             {Op: "a.b", Method: "GET", Path: "x"},
		"trailing slash":            {Op: "a.b", Method: "GET", Path: "/x/"},
		"twice":                     {Op: "a.b", Method: "GET", Path: "/api/v1/notes"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("the route was accepted")
				}
			}()
			newEdge(t, nil).router.Handle(rt, http.NotFoundHandler())
		})
	}
}

func TestAnswerThatBreaksHalfWayCutsTheConnection(t *testing.T) {
	e := newEdge(t, nil)
	e.router.Handle(Route{Op: "test.break", Method: "GET", Path: "/break"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic("mid-answer")
	}))
	defer func() {
		if recover() != http.ErrAbortHandler { //nolint:errorlint // a panic value
			t.Error("the connection was not cut")
		}
		e.wantMetric(t, `panics_total{site="http"}`, "1")
	}()
	e.router.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/break", nil))
}
