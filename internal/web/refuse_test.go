package web

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/fault"
)

// refusal is a row of the bad-input table: what comes in and what must go out.
// A row that cannot apply to this package says why not.
type refusal struct {
	name   string
	method string
	target string
	body   string
	header []string
	status int // 0: not refused here
	code   fault.Code
	field  string // that errors[] must name
	why    string // the row does not apply
}

const good = `{"title":"x"}`

func notes(name, body string, status int, code fault.Code, field string) refusal {
	return refusal{name: name, method: "PUT", target: "/api/v1/notes/a", body: body, status: status, code: code, field: field}
}

var refusals = []refusal{
	notes("good", good, 201, 0, ""),
	// Bodies that have no single reading
	notes("empty", "", 400, fault.CodeBadRequest, ""),
	notes("spaces", "  ", 400, fault.CodeBadRequest, ""),
	notes("null", "null", 400, fault.CodeBadRequest, ""),
	notes("array", "[]", 400, fault.CodeBadRequest, "body"),
	notes("string", `"x"`, 400, fault.CodeBadRequest, "body"),
	notes("trailing object", good+good, 400, fault.CodeBadRequest, ""),
	notes("trailing letter", good+"x", 400, fault.CodeBadRequest, ""),
	notes("cut off", `{"title":"x"`, 400, fault.CodeBadRequest, ""),
	notes("duplicate name", `{"title":"x","title":"y"}`, 400, fault.CodeBadRequest, ""),
	notes("duplicate name, escaped", `{"title":"x","t\u0069tle":"y"}`, 400, fault.CodeBadRequest, ""),
	notes("duplicate name deep in free content", `{"title":"x","raw":{"a":1,"a":2}}`, 400, fault.CodeBadRequest, ""),
	notes("NaN", `{"title":"x","count":NaN}`, 400, fault.CodeBadRequest, ""),
	notes("Infinity", `{"title":"x","count":-Infinity}`, 400, fault.CodeBadRequest, ""),
	notes("lone surrogate", `{"title":"\ud800"}`, 400, fault.CodeBadRequest, ""),
	notes("U+0000", `{"title":"\u0000"}`, 400, fault.CodeBadRequest, "title"),
	notes("U+0000 in a name", `{"title":"x","raw":{"\u0000":1}}`, 400, fault.CodeBadRequest, ""),
	notes("bad UTF-8", "{\"title\":\"\xff\"}", 400, fault.CodeBadRequest, ""),
	notes("byte order mark", "\ufeff"+good, 400, fault.CodeBadRequest, ""),
	notes("UTF-16", "\xff\xfe{\x00", 400, fault.CodeBadRequest, ""),
	notes("comment", `{"title":"x"/* */}`, 400, fault.CodeBadRequest, ""),
	notes("single quotes", `{'title':'x'}`, 400, fault.CodeBadRequest, ""),
	notes("depth 10,000", `{"title":"x","raw":`+strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)+`}`, 400, fault.CodeBadRequest, ""),
	notes("depth 33", `{"title":"x","raw":`+strings.Repeat("[", 32)+strings.Repeat("]", 32)+`}`, 400, fault.CodeBadRequest, ""),
	notes("depth 32", `{"title":"x","raw":`+strings.Repeat("[", 31)+strings.Repeat("]", 31)+`}`, 201, 0, ""),
	// Types
	notes("number for text", `{"title":1}`, 400, fault.CodeBadRequest, "title"),
	notes("null for text", `{"title":null}`, 400, fault.CodeBadRequest, "title"),
	notes("text for integer", `{"title":"x","count":"1"}`, 400, fault.CodeBadRequest, "count"),
	notes("fraction for integer", `{"title":"x","count":1.5}`, 400, fault.CodeBadRequest, "count"),
	notes("exponent for integer", `{"title":"x","count":1e0}`, 400, fault.CodeBadRequest, "count"),
	notes("object for list", `{"title":"x","tags":{}}`, 400, fault.CodeBadRequest, "tags"),
	notes("null for list", `{"title":"x","tags":null}`, 400, fault.CodeBadRequest, "tags"),
	notes("number in list", `{"title":"x","tags":["a",2]}`, 400, fault.CodeBadRequest, "tags[1]"),
	notes("deep", `{"title":"x","inner":{"a":1,"b":{"a":"x"}}}`, 400, fault.CodeBadRequest, "inner.b.a"),
	notes("value of a map", `{"title":"x","marks":{"k":"v"}}`, 400, fault.CodeBadRequest, "marks.k"),
	// Unknown fields
	notes("unknown", `{"title":"x","role":"admin"}`, 400, fault.CodeUnknownField, "role"),
	notes("is_admin", `{"is_admin":true,"title":"x"}`, 400, fault.CodeUnknownField, "is_admin"),
	notes("sender_id", `{"sender_id":"U","title":"x"}`, 400, fault.CodeUnknownField, "sender_id"),
	notes("seq", `{"seq":1,"title":"x"}`, 400, fault.CodeUnknownField, "seq"),
	notes("created_at", `{"created_at":"","title":"x"}`, 400, fault.CodeUnknownField, "created_at"),
	notes("other case", `{"Title":"x"}`, 400, fault.CodeUnknownField, "Title"),
	notes("unknown, deep", `{"title":"x","inner":{"a":1,"c":{"d":[1]}}}`, 400, fault.CodeUnknownField, "inner.c"),
	notes("$schema", `{"$schema":"x","title":"x"}`, 400, fault.CodeUnknownField, "$schema"),
	{name: "unknown query", method: "GET", target: "/api/v1/notes?befor=1", status: 400, code: fault.CodeUnknownField, field: "befor"},
	// Readable, not allowed
	notes("missing", `{}`, 422, fault.CodeInvalid, "title"),
	notes("too short", `{"title":""}`, 422, fault.CodeInvalid, "title"),
	notes("too long", `{"title":"123456789"}`, 422, fault.CodeTooLong, "title"),
	notes("8 runes in 32 bytes", `{"title":"`+strings.Repeat("😀", 8)+`"}`, 201, 0, ""),
	notes("9 runes", `{"title":"`+strings.Repeat("é", 9)+`"}`, 422, fault.CodeTooLong, "title"),
	notes("too great", `{"title":"x","count":11}`, 422, fault.CodeInvalid, "count"),
	notes("negative", `{"title":"x","count":-1}`, 422, fault.CodeInvalid, "count"),
	notes("2^63", `{"title":"x","count":9223372036854775808}`, 422, fault.CodeInvalid, "count"),
	notes("2^31 for 32 bits", `{"title":"x","small":2147483648}`, 422, fault.CodeInvalid, "small"),
	notes("no time", `{"title":"x","until":"tomorrow"}`, 422, fault.CodeInvalid, "until"),
	notes("time", `{"title":"x","until":"2026-11-23T09:30:00.000Z"}`, 201, 0, ""),
	notes("null for what may be left out", `{"title":"x","until":null}`, 400, fault.CodeBadRequest, "until"),
	notes("no base 64", `{"title":"x","bytes":"%%%"}`, 400, fault.CodeBadRequest, "body"),
	notes("1e400", `{"title":"x","raw":1e400}`, 422, fault.CodeInvalid, "raw"),
	notes("not in the list", `{"title":"x","kind":"wide"}`, 422, fault.CodeInvalid, "kind"),
	notes("too many", `{"title":"x","tags":["","","",""]}`, 422, fault.CodeTooLong, "tags"),
	notes("missing, deep", `{"title":"x","inner":{}}`, 422, fault.CodeInvalid, "inner.a"),
	notes("what looks like markup", `{"title":"<b>{{7}}"}`, 201, 0, ""),
	notes("CRLF and escapes", `{"title":"\r\n\u001b[0m"}`, 201, 0, ""),
	// Size, type, encoding
	{name: "64 KiB and 1", method: "PUT", target: "/api/v1/notes/a", body: `{"title":"` + strings.Repeat("a", 64<<10) + `"}`, status: 413, code: fault.CodeTooLarge},
	{name: "text/plain", method: "PUT", target: "/api/v1/notes/a", body: good, header: []string{"Content-Type", "", "Content-Type", "text/plain"}, status: 415, code: fault.CodeUnsupportedMediaType},
	{name: "no type", method: "PUT", target: "/api/v1/notes/a", body: good, header: []string{"Content-Type", ""}, status: 415, code: fault.CodeUnsupportedMediaType},
	{name: "two types", method: "PUT", target: "/api/v1/notes/a", body: good, header: []string{"Content-Type", "application/json"}, status: 415, code: fault.CodeUnsupportedMediaType},
	{name: "form", method: "PUT", target: "/api/v1/notes/a", body: "title=x", header: []string{"Content-Type", "", "Content-Type", "application/x-www-form-urlencoded"}, status: 415, code: fault.CodeUnsupportedMediaType},
	{name: "utf-16", method: "PUT", target: "/api/v1/notes/a", body: good, header: []string{"Content-Type", "", "Content-Type", "application/json; charset=utf-16"}, status: 415, code: fault.CodeUnsupportedMediaType},
	{name: "utf-8", method: "PUT", target: "/api/v1/notes/a", body: good, header: []string{"Content-Type", "", "Content-Type", "Application/JSON; charset=UTF-8"}, status: 201},
	{name: "gzip", method: "PUT", target: "/api/v1/notes/a", body: "\x1f\x8b", header: []string{"Content-Encoding", "gzip"}, status: 415, code: fault.CodeUnsupportedMediaType},
	{name: "body where none belongs", method: "POST", target: "/api/v1/login", body: `{"role":"admin"}`, status: 400, code: fault.CodeUnknownField, field: "role"},
	{name: "empty object where no body belongs", method: "POST", target: "/api/v1/login", body: `{}`, status: 204},
	// Methods
	{name: "TRACE", method: "TRACE", target: "/api/v1/notes", status: 405, code: fault.CodeMethodNotAllowed},
	{name: "CONNECT", method: "CONNECT", target: "/api/v1/notes", status: 405, code: fault.CodeMethodNotAllowed},
	{name: "OPTIONS", method: "OPTIONS", target: "/api/v1/notes", status: 405, code: fault.CodeMethodNotAllowed},
	{name: "HEAD", method: "HEAD", target: "/api/v1/notes", status: 405, code: fault.CodeMethodNotAllowed},
	{name: "invented", method: "BREW", target: "/api/v1/notes", status: 405, code: fault.CodeMethodNotAllowed},
	{name: "lower case", method: "get", target: "/api/v1/notes", status: 405, code: fault.CodeMethodNotAllowed},
	{name: "DELETE where PUT is", method: "DELETE", target: "/api/v1/notes/a", status: 405, code: fault.CodeMethodNotAllowed},
	{name: "override", method: "GET", target: "/api/v1/notes", header: []string{"X-HTTP-Method-Override", "PUT"}, status: 200},
	// Paths
	{name: "unknown path", method: "GET", target: "/api/v1/nothing", status: 404, code: fault.CodeNotFound},
	{name: "unknown path, odd method", method: "BREW", target: "/api/v1/nothing", status: 404, code: fault.CodeNotFound},
	{name: "//", method: "GET", target: "//api/v1/notes", status: 404, code: fault.CodeNotFound},
	{name: "/./", method: "GET", target: "/api/./v1/notes", status: 404, code: fault.CodeNotFound},
	{name: "/../", method: "GET", target: "/api/v1/x/../notes", status: 404, code: fault.CodeNotFound},
	{name: "trailing slash", method: "GET", target: "/api/v1/notes/", status: 404, code: fault.CodeNotFound},
	{name: "backslash", method: "GET", target: `/api/v1\notes`, status: 404, code: fault.CodeNotFound},
	{name: "NUL", method: "PUT", target: "/api/v1/notes/\x00", body: good, status: 404, code: fault.CodeNotFound},
	{name: "bad UTF-8 in a path", method: "PUT", target: "/api/v1/notes/\xff", body: good, status: 404, code: fault.CodeNotFound},
	{name: "100 KiB path", method: "GET", target: "/api/v1/" + strings.Repeat("a", 100<<10), status: 404, code: fault.CodeNotFound},
	{name: "outside the API", method: "GET", target: "/nothing", status: 404, code: fault.CodeNotFound},
	// Parameters
	{name: "8 KiB id", method: "PUT", target: "/api/v1/notes/" + strings.Repeat("a", 1<<10), body: good, status: 400, code: fault.CodeBadID, field: "id"},
	{name: "limit of letters", method: "GET", target: "/api/v1/notes?limit=x", status: 400, code: fault.CodeBadRequest, field: "limit"},
	{name: "limit 2^63", method: "GET", target: "/api/v1/notes?limit=9223372036854775808", status: 400, code: fault.CodeBadRequest, field: "limit"},
	{name: "limit -1", method: "GET", target: "/api/v1/notes?limit=-1", status: 200},
	{name: "long search", method: "GET", target: "/api/v1/notes?q=12345", status: 422, code: fault.CodeTooLong, field: "q"},
	{name: "search with %", method: "GET", target: "/api/v1/notes?q=%25_%22", status: 200},
	{name: "malformed query", method: "GET", target: "/api/v1/notes?q=%zz", status: 400, code: fault.CodeBadRequest},
	{name: "bad UTF-8 in a query", method: "GET", target: "/api/v1/notes?q=%ff", status: 400, code: fault.CodeBadRequest},
	{name: "U+0000 in a query", method: "GET", target: "/api/v1/notes?q=%00", status: 400, code: fault.CodeBadRequest},
	{name: "9 KiB query", method: "GET", target: "/api/v1/notes?q=" + strings.Repeat("a", 9<<10), status: 400, code: fault.CodeBadRequest},
	{name: "long idempotency header", method: "PUT", target: "/api/v1/notes/a", body: good, header: []string{"Idempotency-Key", strings.Repeat("a", 65)}, status: 422, code: fault.CodeTooLong},
	// Proofs of identity
	{name: "access_token in the URL", method: "GET", target: "/api/v1/ws?access_token=abc", status: 400, code: fault.CodeTokenInURL},
	{name: "token in the URL", method: "GET", target: "/api/v1/me?TOKEN=abc", status: 400, code: fault.CodeTokenInURL},
	{name: "ticket in the URL of nothing", method: "GET", target: "/api/v1/nothing?ticket=abc", status: 400, code: fault.CodeTokenInURL},
	{name: "none", method: "GET", target: "/api/v1/me", status: 401, code: fault.CodeUnauthenticated},
	{name: "malformed", method: "GET", target: "/api/v1/me", header: []string{"Authorization", "Bearer a.b.c"}, status: 401, code: fault.CodeUnauthenticated},
	{name: "a million dots", method: "GET", target: "/api/v1/me", header: []string{"Authorization", "Bearer " + strings.Repeat(".", 1_000_000)}, status: 401, code: fault.CodeUnauthenticated},
	{name: "other scheme", method: "GET", target: "/api/v1/me", header: []string{"Authorization", "Basic YTpi"}, status: 401, code: fault.CodeUnauthenticated},
	{name: "two headers", method: "GET", target: "/api/v1/me", header: []string{"Authorization", "Bearer a", "Authorization", "Bearer b"}, status: 401, code: fault.CodeUnauthenticated},
	{name: "cookie", method: "GET", target: "/api/v1/me", header: []string{"Cookie", "access_token=abc"}, status: 401, code: fault.CodeUnauthenticated},
	{name: "no upgrade", method: "GET", target: "/api/v1/ws", status: 426, code: fault.CodeUpgradeRequired},

	{name: "HTTP/2 floods", why: "Nova speaks HTTP/1.1; HTTP/2 ends at the proxy in front, which has its own limits"},
	{name: "objects of someone else", why: "the services decide; their tests hold the matrix of routes and roles"},
	{name: "same client_msg_id", why: "messaging decides"},
	{name: "forged cursor", why: "the services read cursors; the edge hands them on as text"},
	{name: "joins of one invite, demotions", why: "messaging decides"},
	{name: "tenants, bots, second factor, suspension", why: "Nova has none of them yet"},
}

func TestBadInput(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			if c.why != "" {
				t.Skip(c.why)
			}
			w := newEdge(t, nil).call(c.method, c.target, c.body, c.header...)
			for name := range w.Header() {
				if strings.HasPrefix(name, "Access-Control-") || name == "Location" {
					t.Errorf("the answer has %s: %s", name, w.Header().Get(name))
				}
			}
			if c.status < 400 {
				if w.Code != c.status {
					t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
				}
				return
			}
			p := wantProblem(t, w, c.status, c.code)
			if c.field != "" && (len(p.Errors) == 0 || p.Errors[0].Name != c.field || p.Errors[0].Detail == "") {
				t.Errorf("errors %+v do not name %q first", p.Errors, c.field)
			}
			if allow := w.Header().Get("Allow"); (allow != "") != (c.status == 405) {
				t.Errorf("Allow is %q", allow)
			}
		})
	}
}

func TestEveryMissingFieldIsNamed(t *testing.T) {
	w := newEdge(t, nil).call("PUT", "/api/v1/notes/a", `{"count":99,"kind":"wide","tags":["","","",""]}`)
	p := wantProblem(t, w, 422, fault.CodeTooLong)
	var names []string
	for _, f := range p.Errors {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "tags count kind title" {
		t.Errorf("errors name %q", got)
	}
}

func TestNoValueOfTheRequestComesBack(t *testing.T) {
	const canary = "c4n4ry-9f"
	e := newEdge(t, nil)
	for _, c := range []refusal{
		{target: "/api/v1/notes/a", body: `{"title":"` + canary + canary + `"}`},
		{target: "/api/v1/notes/a", body: `{"title":"x","count":"` + canary + `"}`},
		{target: "/api/v1/notes/a", body: `{"title":"x","` + `role":"` + canary + `"}`},
		{target: "/api/v1/notes/a", body: `{"title":"x"}` + canary},
		{target: "/api/v1/notes/" + canary + canary + canary + canary, body: good},
		{target: "/api/v1/notes/a?limit=" + canary, body: good},
		{target: "/api/v1/notes/a?access_token=" + canary, body: good},
		{target: "/api/v1/" + canary, body: good},
		{target: "/api/v1/notes/a", body: good, header: []string{correlationHeader, canary + "\x7f"}},
	} {
		w := e.call("PUT", c.target, c.body, c.header...)
		if strings.Contains(w.Body.String(), canary) || strings.Contains(w.Header().Get(correlationHeader), canary) {
			t.Errorf("%s %s: the answer repeats a value: %s", c.target, c.body, w.Body)
		}
	}
	if log := e.log.String(); strings.Contains(log, canary) || !strings.Contains(log, `"op":"note.put"`) {
		t.Errorf("the log repeats a value or is missing:\n%s", log)
	}
}

func FuzzBody(f *testing.F) {
	for _, c := range refusals {
		if c.body != "" && len(c.body) < 1000 {
			f.Add([]byte(c.body))
		}
	}
	e := newEdge(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := e.call("PUT", "/api/v1/notes/a", string(body))
		if strings.Contains(w.Body.String(), "documented form") && !bytes.Contains(body, []byte("bytes")) {
			t.Errorf("the check let through what the type refuses: %q", body)
		}
		switch w.Code {
		case 200, 201, 400, 413, 422:
		default:
			t.Errorf("status %d for %q: %s", w.Code, body, w.Body)
		}
	})
}
