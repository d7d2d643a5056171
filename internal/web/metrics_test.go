package web

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever comes in, the series that exist are those that the catalogue names.
func TestSeriesStayTheSameUnderAttack(t *testing.T) {
	e := newEdge(t, nil)
	static := e.obs.Metrics.Static()
	for i := range 20_000 {
		req := adversary(rand.New(rand.NewPCG(1, uint64(i))))
		e.router.ServeHTTP(httptest.NewRecorder(), req)
	}
	after, err := e.obs.Metrics.Gathered()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(static, after); diff != "" {
		t.Errorf("an attack changed the series (-before +after):\n%s", diff)
	}
}

// adversary makes a request as no honest client does.
func adversary(r *rand.Rand) *http.Request {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	random := func() string { return strconv.FormatUint(r.Uint64(), 36) }
	path := pick("/"+random(), "/api/v1/notes/"+random(), "/api/v1/notes/"+random()+"/", "/api/v1/"+random(), "//"+random(),
		"/api/v1/notes", "/api/v1/me", "/docs/"+random(), "/errors/"+random(), "/api/v1/fail", "", "*", "/"+random()+"/../x", "/\xff\x00", "/docs", "/openapi.json")
	req := &http.Request{
		Method: pick("GET", "PUT", "POST", "HEAD", "CONNECT", "OPTIONS", "TRACE", "DELETE", random(), ""),
		URL:    &url.URL{Path: path, RawPath: pick("", path, "/"+random()+"%2f"), RawQuery: pick("", random()+"="+random(), "token="+random(), "%%%")},
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody,
		Host: random(), RemoteAddr: pick("192.0.2.1:1", "[2001:db8::1]:2", random(), ""), RequestURI: path,
	}
	for _, name := range []string{"X-Correlation-Id", "User-Agent", "Authorization", "Origin", "X-Forwarded-For", "Content-Type", random()} {
		req.Header[name] = []string{pick(random(), "Bearer "+random(), fmt.Sprintf("%q", random()))}
	}
	return req
}

func TestRequestsAreCountedByRegisteredRoute(t *testing.T) {
	e := newEdge(t, nil)
	e.call("PUT", "/api/v1/notes/a", good)
	e.call("PUT", "/api/v1/notes/b", `{"title":"x","count":7}`)
	e.call("PUT", "/api/v1/notes/c", "")
	e.call("DELETE", "/api/v1/notes/c", "")
	e.call("BREW", "/nothing", "")
	e.wantMetric(t, `http_requests_total{method="PUT",route="/api/v1/notes/{id}",status="2xx"}`, "2")
	e.wantMetric(t, `http_requests_total{method="PUT",route="/api/v1/notes/{id}",status="4xx"}`, "1")
	e.wantMetric(t, `http_requests_total{method="DELETE",route="unmatched",status="4xx"}`, "1")
	e.wantMetric(t, `http_requests_total{method="other",route="unmatched",status="4xx"}`, "1")
	e.wantMetric(t, `http_request_duration_seconds_count{route="/api/v1/notes/{id}"}`, "3")
	e.wantMetric(t, `http_failures_total{code="method_not_allowed"}`, "1")
	e.wantMetric(t, `http_requests_in_flight`, "0")
}

func TestBothListenersMayServeOnePath(t *testing.T) {
	e := newEdge(t, nil)
	admin := NewRouter(e.obs, Config{Listener: Admin}, nil)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	e.router.Handle(Route{Op: "health.ready", Method: "GET", Path: "/readyz"}, h)
	admin.Handle(Route{Op: "health.ready", Method: "GET", Path: "/readyz"}, h)
	admin.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/readyz", nil))
	e.wantMetric(t, `http_requests_total{method="GET",route="admin:/readyz",status="2xx"}`, "1")
	w := httptest.NewRecorder()
	admin.ServeHTTP(w, httptest.NewRequest("GET", "/docs", nil))
	if w.Code != 404 {
		t.Errorf("the admin listener has documents: %d", w.Code)
	}
}
