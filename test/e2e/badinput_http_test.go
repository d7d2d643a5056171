package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// verbatimTexts are odd and allowed: they come back as they were sent.
func verbatimTexts(t *testing.T, s *scene) {
	k := s.words.Replace("{k}")
	for i, body := range []string{
		"\u200b\u200d", "\u202eabc", "e" + strings.Repeat("\u0301", 1000), "<script>alert(1)</script>", "javascript:alert(1)", "{{7*7}}", "=cmd()",
		"a\r\nb", "\x1b[31mred", "caf\u00e9", "cafe\u0301", strings.Repeat("x", 16<<10), "\ufeff", "\u2028", "\U0010ffff",
	} {
		a := s.alice.send(k, fmt.Sprintf("odd-%d", i), body).want(t, 201)
		if got := s.bob.call("GET", "messages/"+a.text("id"), nil).want(t, 200); got.text("body") != body {
			t.Errorf("%.20q came back as %.40q", body, got.text("body"))
		}
		if got := a.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("Content-Type %q", got)
		}
	}
	for line := range strings.Lines(s.n.log.String()) {
		if !json.Valid([]byte(line)) || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\r\x00") {
			t.Errorf("a log line is not clean: %q", line)
		}
	}
}

func searchesFindNoMore(t *testing.T, s *scene) {
	for q, want := range map[string]int{"%25": 0, "_": 0, "%27": 0, "alice": 1, "ALI": 1, "ev": 1} {
		got := s.alice.call("GET", "users?q="+q, nil).want(t, 200)
		if items := got.value("items").([]any); len(items) != want {
			t.Errorf("q=%s finds %d, want %d: %s", q, len(items), want, got.raw)
		}
	}
}

// methods are answered with 405 and what the path can do.
func methods(t *testing.T, s *scene) {
	auth := "Host: x\r\nAuthorization: Bearer " + s.alice.access + "\r\n\r\n"
	for _, method := range []string{"TRACE", "HEAD", "OPTIONS", "CONNECT", "BREW", "get", "DELETE", "PATCH"} {
		for path, allow := range map[string]string{"/api/v1/messages": "GET, POST", "/api/v1/users/me": "GET, PATCH", "/api/v1/ws": "GET"} {
			if strings.Contains(allow, method) {
				continue
			}
			got := s.n.raw(t, method+" "+path+" HTTP/1.1\r\n"+auth)
			if len(got) != 1 || got[0].status != 405 || got[0].header.Get("Allow") != allow {
				t.Errorf("%s %s: %v", method, path, got)
				continue
			}
			if method != "HEAD" { // which has no body
				got[0].wantProblem(t, 405, "method_not_allowed", "")
			}
		}
	}
	for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		a := s.alice.call("GET", "messages", nil, name, "DELETE").want(t, 200)
		if a.value("items") == nil {
			t.Errorf("%s was heeded: %s", name, a.raw)
		}
		s.alice.call("POST", "auth/sessions", map[string]any{}, name, "DELETE").wantProblem(t, 405, "method_not_allowed", "")
	}
}

// paths that lead nowhere make neither an answer nor a series of their own.
func paths(t *testing.T, s *scene) {
	before := s.n.metrics(t)
	for _, path := range []string{
		"//api/v1/messages", "/api//v1/messages", "/api/./v1/messages", "/api/v1/../v1/messages", "/api/v1/messages/", "/api/v1/messages%2f",
		"/api%2fv1/messages", "/api/v1/%2e%2e/messages", "/api/v1/nothing", "/api/v2/messages", "/api", "/api/v1\\messages", "/API/v1/messages",
		"/api/v1/messages/" + strings.Repeat("a/", 500),
	} {
		got := s.n.raw(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if len(got) != 1 {
			t.Errorf("%s: %d answers", path, len(got))
			continue
		}
		got[0].wantProblem(t, 404, "not_found", "")
		if got[0].header.Get("Location") != "" {
			t.Errorf("%s redirects", path)
		}
	}
	if got := s.n.raw(t, "GET /api/v1/"+strings.Repeat("a", 100<<10)+" HTTP/1.1\r\nHost: x\r\n\r\n"); len(got) != 1 || got[0].status != 431 {
		t.Errorf("a path of 100 KiB: %v", got)
	}
	if got := s.n.raw(t, "GET /api/v1/"+strings.Repeat("a", 30<<10)+" HTTP/1.1\r\nHost: x\r\n\r\n"); len(got) != 1 || got[0].status != 404 {
		t.Errorf("a path of 30 KiB: %v", got)
	}
	for i := range 300 {
		s.alice.call("GET", fmt.Sprintf("nothing/%d", i), nil).want(t, 404)
	}
	after := s.n.metrics(t)
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("a new series: %s", name)
		}
	}
}

// headers that are too many or that want to reach the log.
func headers(t *testing.T, s *scene) {
	request := func(more string) string {
		return "GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + s.alice.access + "\r\n" + more + "\r\n"
	}
	for name, more := range map[string]string{
		"70 KiB in one": "X-Big: " + strings.Repeat("x", 70<<10) + "\r\n", "200 fields": strings.Repeat("X-Many: x\r\n", 200),
	} {
		if got := s.n.raw(t, request(more)); len(got) != 1 || got[0].status != 431 {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, value := range map[string]string{
		"65 characters": canary + strings.Repeat("x", 59), "10 KiB": canary + strings.Repeat("x", 10<<10), "JSON": `{"a":"` + canary + `"}`,
		"a space": canary + " x", "an escape": canary + "\x1b[31m", "not ASCII": canary + "é", "a refresh proof": canary + "~" + strings.Repeat("x", 20), "empty": "",
	} {
		got := s.n.raw(t, request("X-Correlation-ID: "+value+"\r\n"))
		switch {
		case len(got) == 1 && got[0].status == 400 && name == "an escape": // net/http reads no such header
		case len(got) != 1 || got[0].status != 200:
			t.Errorf("%s: %v", name, got)
		case got[0].header.Get("X-Correlation-ID") == value || len(got[0].header.Get("X-Correlation-ID")) != 26:
			t.Errorf("%s was not replaced: %q", name, got[0].header.Get("X-Correlation-ID"))
		}
	}
	split := s.n.raw(t, request("X-Correlation-ID: a\r\nX-Injected: b\r\n"))
	if len(split) != 1 || split[0].header.Get("X-Correlation-ID") != "a" || split[0].header.Get("X-Injected") != "" {
		t.Errorf("a line break in a header: %v", split)
	}
	exact := strings.Repeat("A9._-", 13)[:64]
	if a := s.alice.call("GET", "users/me", nil, "X-Correlation-ID", exact).want(t, 200); a.header.Get("X-Correlation-ID") != exact {
		t.Errorf("64 good characters were replaced by %q", a.header.Get("X-Correlation-ID"))
	}
}

// framing that two servers could read in two ways ends the connection, so that
// no smuggled request is answered.
func framing(t *testing.T, s *scene) {
	body := s.words.Replace(message(""))
	head := "POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nContent-Type: application/json\r\nAuthorization: Bearer " + s.bob.access + "\r\n"
	smuggled := "GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + s.bob.access + "\r\n\r\n"
	for name, request := range map[string]string{
		"Content-Length and Transfer-Encoding": head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"two Content-Lengths":                  head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + body + smuggled,
		"negative Content-Length":              head + "Content-Length: -1\r\n\r\n" + body + smuggled,
		"folded header":                        head + "X-Fold: a\r\n b\r\nContent-Length: 0\r\n\r\n" + smuggled,
		"bad chunk":                            head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body + "\r\n0\r\n\r\n" + smuggled,
		"space before the colon":               head + "Content-Length : 5\r\n\r\n" + body + smuggled,
		"no Host":                              strings.Replace(head, "Host: x\r\n", "", 1) + "Content-Length: 0\r\n\r\n" + smuggled,
		"bare CR":                              head + "X: a\rb\r\nContent-Length: 0\r\n\r\n" + smuggled,
		"no version":                           "GET /api/v1/users/me\r\nConnection: x\r\n\r\n" + smuggled,
	} {
		got := s.n.raw(t, request)
		if len(got) != 1 || got[0].status != 400 {
			var all []int
			for _, a := range got {
				all = append(all, a.status)
			}
			t.Errorf("%s: answers %v, want one 400", name, all)
		}
	}
	other := strings.Replace(head, "POST", "GET", 1)
	if got := s.n.raw(t, strings.Replace(other, "Connection: keep-alive\r\n", "", 1)+"Transfer-Encoding: gzip\r\n\r\n"); len(got) != 1 || got[0].status != 501 {
		t.Errorf("an unknown Transfer-Encoding: %v", got)
	}
	old := "GET /api/v1/users/me HTTP/1.0\r\nConnection: x\r\n\r\n"
	if got := s.n.raw(t, old+smuggled); len(got) != 1 || got[0].status != 401 {
		t.Errorf("HTTP/1.0 with a second request: %v", got)
	}
}

// crossOrigin: no page of another origin may read an answer, and no page may at
// all with what the browser would add.
func crossOrigin(t *testing.T, s *scene) {
	for _, origin := range []string{"https://evil.example", "null", "https://evil-" + strings.TrimPrefix(s.n.url, "http://"), strings.Replace(s.n.url, "http", "https", 1), s.n.url + ".evil.example", s.n.url} {
		for _, method := range []string{"GET", "OPTIONS"} {
			a := s.alice.call(method, "messages", nil, "Origin", origin, "Access-Control-Request-Method", "POST", "Cookie", "access_token="+canary)
			for name := range a.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s with Origin %s answers %s", method, origin, name)
				}
			}
			if want := map[string]int{"GET": 200, "OPTIONS": 405}[method]; a.status != want {
				t.Errorf("%s with Origin %s: %d, want %d", method, origin, a.status, want)
			}
		}
	}
	person{n: s.n}.call("GET", "users/me", nil, "Cookie", "access_token="+s.alice.access).wantProblem(t, 401, "unauthenticated", "")
}

// foreignHosts: what a client says the host is stands in no answer.
func foreignHosts(t *testing.T, s *scene) {
	const evil = "evil.example"
	for name, request := range map[string]string{
		"Host":             "GET /api/v1/users/me HTTP/1.1\r\nHost: " + evil + "\r\n\r\n",
		"absolute form":    "GET http://" + evil + "/api/v1/users/me HTTP/1.1\r\nHost: " + evil + "\r\n\r\n",
		"X-Forwarded-Host": "GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: " + evil + "\r\n\r\n",
		"two slashes":      "GET //" + evil + "/%2e%2e HTTP/1.1\r\nHost: x\r\n\r\n",
		"backslash":        "GET /\\" + evil + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"documents":        "GET /openapi.json HTTP/1.1\r\nHost: " + evil + "\r\n\r\n",
	} {
		got := s.n.raw(t, request)
		if len(got) != 1 {
			t.Errorf("%s: %d answers", name, len(got))
			continue
		}
		if got[0].status >= 300 && got[0].status < 400 || got[0].status >= 500 {
			t.Errorf("%s: %d", name, got[0].status)
		}
		if strings.Contains(string(got[0].raw)+fmt.Sprint(got[0].header), evil) {
			t.Errorf("%s stands in the answer: %s", name, got[0].raw)
		}
	}
}
