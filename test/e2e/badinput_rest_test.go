package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
)

// scene is what the bad-input tables play on: alice and bob talk; bob and eve
// have a conversation that is none of alice's business.
type scene struct {
	n               *node
	alice, bob, eve person
	books           *books
	words           *strings.Replacer // {k} and the like in requests and frames
	message         string            // the first of alice and bob
	shortLived      string            // a proof of identity that is over soon
}

// newScene starts a node with the people of the tables.
func newScene(t *testing.T, change ...func(*config.Config)) *scene {
	t.Helper()
	n := start(t, t.TempDir(), change...)
	s := &scene{n: n, alice: n.register("alice"), bob: n.register("bob"), eve: n.register("eve"), books: n.books(t)}
	k, foreign := s.alice.direct(s.bob), s.eve.direct(s.bob)
	s.message = s.alice.send(k, "c-1", "hello").want(t, 201).text("id")
	hidden := s.eve.send(foreign, "c-1", "not for alice").want(t, 201).text("id")
	s.alice.send(k, "c-2", "again").want(t, 201)
	cursor := func(p person, path string) string {
		page := p.call("GET", path, nil).want(t, 200)
		if next := page.text("next_cursor"); next != "" {
			return next
		}
		t.Fatalf("%s has no next page: %s", path, page.raw)
		return ""
	}
	s.words = strings.NewReplacer(
		"{k}", k, "{m}", s.message, "{bob}", s.bob.id, "{eve}", s.eve.id, "{session}", s.eve.session,
		"{foreign}", foreign, "{hidden}", hidden, "{nobody}", "01ARZ3NDEKTSV4RRFFQ69G5FAV",
		"{feed}", cursor(s.alice, "messages?limit=1"), "{bobs feed}", cursor(s.bob, "messages?limit=1"),
		"{history}", cursor(s.alice, "conversations/"+k+"/messages?limit=1"), "{bobs history}", cursor(s.bob, "conversations/"+k+"/messages?limit=1"),
		"{list}", cursor(s.bob, "conversations?limit=1"),
	)
	s.shortLived = n.seed(t, "late", 1, time.Second)[0].access
	n.wantProfiles(t, s.books, 4)
	return s
}

// wantProfiles waits until the event path has made so many profiles, so that
// what the books show has come to rest.
func (n *node) wantProfiles(t *testing.T, b *books, count int64) {
	t.Helper()
	within(t, "the profiles", func() bool { return b.read(obs.User, "SELECT COUNT(*) FROM profiles") == count })
}

// restCase is one request of a row: what is asked and what must be answered.
type restCase struct {
	name         string
	method, path string // below /api/v1/
	body         string
	header       []string
	status       int
	code, field  string // of the problem; empty for an answer that is none
	anonymous    bool
}

// restRow is a row of section 4.3 of the design's table of bad input.
type restRow struct {
	input  string
	why    string // it does not apply, or is judged elsewhere
	writes bool   // some of it is good and is stored
	cases  []restCase
	run    func(t *testing.T, s *scene)
}

func get(name, path string, status int, code, field string) restCase {
	return restCase{name: name, method: "GET", path: path, status: status, code: code, field: field}
}

// post sends a message, with the body as it is.
func post(name, body string, status int, code, field string) restCase {
	return restCase{name: name, method: "POST", path: "messages", body: body, status: status, code: code, field: field}
}

func register(name, body string, status int, code, field string) restCase {
	return restCase{name: name, method: "POST", path: "auth/register", body: body, status: status, code: code, field: field, anonymous: true}
}

func group(name, group string, status int, code string) restCase {
	return restCase{name: name, method: "POST", path: "conversations", body: `{"kind":"group","name":"` + group + `","member_ids":["{bob}"]}`, status: status, code: code, field: "name"}
}

// message is a body for post with one more field, or with another text.
func message(more string) string {
	return `{"conversation_id":"{k}","client_msg_id":"bad-1","body":"` + canary + `"` + more + `}`
}

func text(body string) string {
	return `{"conversation_id":"{k}","client_msg_id":"bad-1","body":` + body + `}`
}

func account(name, display string) string {
	return `{"username":"` + name + `","password":"` + phrase + `","display_name":"` + display + `"}`
}

var restRows = []restRow{
	{input: "no, malformed, expired, foreign proof of identity", run: refusedProofs},
	{input: "forged JWT", run: forgedProofs},
	{input: "object of someone else", why: "TestEveryRouteForEveryCaller holds the matrix of routes and callers"},
	{input: "extra fields", cases: extraFields()},
	{input: "body", cases: []restCase{
		post("empty", "", 400, "bad_request", ""),
		post("null", "null", 400, "bad_request", ""),
		post("array", "[]", 400, "bad_request", "body"),
		post("text", `"`+canary+`"`, 400, "bad_request", "body"),
		post("1 MiB and 1", text(`"`+strings.Repeat("x", 1<<20)+`"`), 413, "too_large", ""),
		{name: "512 KiB and 1", method: "POST", path: "conversations", body: `{"name":"` + strings.Repeat("x", 512<<10) + `"}`, status: 413, code: "too_large"},
		post("depth 10,000", text(strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)), 400, "bad_request", ""),
		post("depth 33 in a field that is unknown", message(`,"x":`+strings.Repeat("[", 33)+strings.Repeat("]", 33)), 400, "bad_request", ""),
		post("a field twice", message(`,"body":"other"`), 400, "bad_request", ""),
		post("trailing data", message("")+" {}", 400, "bad_request", ""),
		post("NaN", text("NaN"), 400, "bad_request", ""),
		post("Infinity", text("Infinity"), 400, "bad_request", ""),
		post("lone surrogate", text(`"\ud800"`), 400, "bad_request", ""),
		post("U+0000", text(`"a\u0000b"`), 400, "bad_request", "body"),
		post("invalid UTF-8", text("\"\xff\""), 400, "bad_request", ""),
		post("number for text", text("5"), 400, "bad_request", "body"),
		post("null for text", text("null"), 400, "bad_request", "body"),
		post("other case", `{"Conversation_ID":"{k}","client_msg_id":"x","body":"b"}`, 400, "unknown_field", "Conversation_ID"),
		post("nothing in it", "{}", 422, "invalid", "body"),
		{name: "gzip bomb", method: "POST", path: "messages", body: "\x1f\x8b\x08", header: []string{"Content-Encoding", "gzip"}, status: 415, code: "unsupported_media_type"},
		{name: "form", method: "POST", path: "messages", body: "body=" + canary, header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, code: "unsupported_media_type"},
		{name: "text/plain", method: "POST", path: "messages", body: message(""), header: []string{"Content-Type", "text/plain"}, status: 415, code: "unsupported_media_type"},
		{name: "a body where none belongs", method: "POST", path: "auth/ticket", body: `{"role":"admin"}`, status: 400, code: "unknown_field", field: "role"},
	}},
	{input: "texts that are refused", cases: []restCase{
		post("16 KiB and 1", text(`"`+strings.Repeat("x", 16<<10+1)+`"`), 422, "too_long", "body"),
		post("16 KiB and 1 in runes of 3 bytes", text(`"`+strings.Repeat("€", (16<<10)/3+1)+`"`), 422, "too_long", "body"),
		post("empty", text(`""`), 422, "invalid", "body"),
		post("client_msg_id of 65", `{"conversation_id":"{k}","client_msg_id":"`+strings.Repeat("x", 65)+`","body":"b"}`, 422, "too_long", "client_msg_id"),
		post("client_msg_id with a space", `{"conversation_id":"{k}","client_msg_id":"`+canary+` x","body":"b"}`, 422, "invalid", "client_msg_id"),
		post("client_msg_id empty", `{"conversation_id":"{k}","client_msg_id":"","body":"b"}`, 422, "invalid", "client_msg_id"),
		register("display name with a right-to-left override", account("mallory", `a\u202eb`), 422, "invalid", "display_name"),
		register("display name with CRLF", account("mallory", `a\r\nb`), 422, "invalid", "display_name"),
		register("display name with an ANSI escape", account("mallory", `\u001b[31m`+canary), 422, "invalid", "display_name"),
		register("display name of zero width", account("mallory", `\u200b\u200d`), 422, "invalid", "display_name"),
		register("display name of 1,000 combining marks", account("mallory", "e"+strings.Repeat(`\u0301`, 1000)), 422, "too_long", "display_name"),
		register("user name with a homoglyph", account(`\u0430lice`, "A"), 422, "invalid", "username"),
		register("user name in NFC", account(`ren\u00e9`, "A"), 422, "invalid", "username"),
		register("user name in NFD", account(`rene\u0301`, "A"), 422, "invalid", "username"),
		register("user name that folds to another's", account("ALICE", "A"), 409, "username_taken", "username"),
		register("user name of 33", account(strings.Repeat("x", 33), "A"), 422, "too_long", "username"),
		register("user name of 2", account("xy", "A"), 422, "invalid", "username"),
		register("user name with CRLF", account(`a\r\nb`, "A"), 422, "invalid", "username"),
		{name: "renamed with an override", method: "PATCH", path: "users/me", body: `{"display_name":"a\u202eb"}`, status: 422, code: "invalid", field: "display_name"},
		{name: "renamed to 65 runes", method: "PATCH", path: "users/me", body: `{"display_name":"` + strings.Repeat("é", 65) + `"}`, status: 422, code: "too_long", field: "display_name"},
		{name: "renamed to nothing", method: "PATCH", path: "users/me", body: `{"display_name":""}`, status: 422, code: "invalid", field: "display_name"},
		group("group name empty", "", 422, "invalid"),
		group("group name of spaces", "   ", 422, "invalid"),
		group("group name of 101", strings.Repeat("é", 101), 422, "too_long"),
		group("group name with CRLF", `a\r\nb`, 422, "invalid"),
		group("group name with a right-to-left override", `a\u202eb`, 422, "invalid"),
		group("group name of zero width", `\u200b\u200d`, 422, "invalid"),
	}},
	{input: "texts that are kept verbatim", writes: true, run: verbatimTexts},
	{input: "ids", cases: badIDs()},
	{input: "cursors and limits", cases: cursors()},
	{input: "search", cases: searches()},
	{input: "search shows only what is there to see", run: searchesFindNoMore},
	{input: "same client_msg_id", why: "idempotency_test.go"},
	{input: "methods", run: methods},
	{input: "paths", run: paths},
	{input: "headers", run: headers},
	{input: "ambiguous framing", run: framing},
	{input: "HTTP/2 floods", why: "Nova speaks HTTP/1.1; HTTP/2 ends at the proxy in front"},
	{input: "slowloris", why: "TestSlowClientsAreCutOff"},
	{input: "CORS", run: crossOrigin},
	{input: "X-Forwarded-For", why: "TestForwardedAddressesOfStrangersCountForNothing"},
	{input: "open redirect, Host: evil, absolute form", run: foreignHosts},
	{input: "concurrent joins, demotions, edits", why: "there are no invitations, role changes or edits yet; TestAThousandSendsOfOneMessage and TestParallelDirectConversations race what there is"},
}

func TestBadInputOverREST(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, row := range restRows {
		t.Run(row.input, func(t *testing.T) {
			if row.why != "" {
				t.Skip(row.why)
			}
			before := s.books.sum()
			for _, c := range row.cases {
				t.Run(c.name, func(t *testing.T) { s.play(t, c) })
			}
			if row.run != nil {
				row.run(t, s)
			}
			if !row.writes {
				s.books.wantSame(t, before)
			}
		})
	}
	s.n.wantSound(t, s.alice)
	if log := s.n.log.String(); strings.Contains(log, canary) {
		t.Error("the log holds what a client sent")
	}
	s.alice.send(s.words.Replace("{k}"), "good", "good").want(t, 201)
}

func (s *scene) play(t *testing.T, c restCase) {
	t.Helper()
	p := s.alice
	if c.anonymous {
		p = person{n: s.n}
	}
	var body any
	if c.method != "GET" {
		body = s.words.Replace(c.body)
	}
	a := p.call(c.method, s.words.Replace(c.path), body, c.header...)
	if c.code == "" {
		a.want(t, c.status)
		return
	}
	a.wantProblem(t, c.status, c.code, c.field)
}

// extraFields are fields that the server decides, in the bodies of all routes
// that take one.
func extraFields() (all []restCase) {
	bodies := []restCase{
		{method: "POST", path: "messages", body: `{"conversation_id":"{k}","client_msg_id":"bad-1","body":"b"`},
		{method: "POST", path: "conversations", body: `{"kind":"group","name":"G","member_ids":["{bob}"]`},
		{method: "PUT", path: "conversations/{k}/read", body: `{"seq":1`},
		{method: "PATCH", path: "users/me", body: `{"display_name":"Mallory"`},
		{method: "POST", path: "auth/register", body: `{"username":"mallory","password":"` + phrase + `"`},
		{method: "POST", path: "auth/login", body: `{"username":"alice","password":"` + phrase + `"`},
		{method: "POST", path: "auth/refresh", body: `{"refresh_token":"` + canary + `"`},
		{method: "POST", path: "auth/password", body: `{"old":"` + phrase + `","new":"another long phrase"`},
	}
	for _, c := range bodies {
		for _, field := range []string{"role", "is_admin", "user_id", "sender_id", "created_at"} {
			c := c
			c.name, c.body = c.method+" "+c.path+" "+field, c.body+`,"`+field+`":"`+canary+`"}`
			c.status, c.code, c.field = 400, "unknown_field", field
			all = append(all, c)
		}
	}
	return append(all,
		post("seq", message(`,"seq":1`), 400, "unknown_field", "seq"),
		post("version", message(`,"version":7`), 400, "unknown_field", "version"),
		get("a parameter that does not exist", "messages?befor=1", 400, "unknown_field", "befor"),
	)
}

// badIDs are identifiers in paths and bodies that are none.
func badIDs() (all []restCase) {
	for _, path := range []string{"users/%s", "conversations/%s", "conversations/%s/messages", "messages/%s"} {
		for _, id := range []struct{ name, id string }{
			{"a word", canary},
			{"negative", "-1"},
			{"2^63", "9223372036854775808"},
			{"a fraction", "1.5"},
			{"lower case", "01arz3ndektsv4rrffq69g5fav"},
			{"27 characters", "01ARZ3NDEKTSV4RRFFQ69G5FAVX"},
			{"beyond 128 bits", "81ARZ3NDEKTSV4RRFFQ69G5FAV"},
			{"a look-alike", "O1ARZ3NDEKTSV4RRFFQ69G5FAV"},
			{"1 KiB", strings.Repeat("0", 1<<10)},
			{"a quote", "'%20OR%201=1"},
		} {
			all = append(all, get(path+" "+id.name, strings.Replace(path, "%s", id.id, 1), 400, "bad_id", "id"))
		}
		for _, id := range []string{"..", "%2e%2e", "..%2f..%2fetc", "%00", "%2F", strings.Repeat("0", 8<<10)} {
			if path != "conversations/%s/messages" || id != ".." {
				all = append(all, get(path+" "+id[:min(len(id), 12)], strings.Replace(path, "%s", id, 1), 404, "not_found", ""))
			}
		}
	}
	return append(all,
		get("a message's id for a conversation", "conversations/{m}", 404, "not_found", ""),
		get("a conversation's id for a message", "messages/{k}", 404, "not_found", ""),
		get("a user's id for a message", "messages/{bob}", 404, "not_found", ""),
		get("a conversation's id for a user", "users/{k}", 404, "not_found", ""),
		post("a word for a conversation", `{"conversation_id":"`+canary+`","client_msg_id":"x","body":"b"}`, 400, "bad_id", "conversation_id"),
		post("a number for a conversation", `{"conversation_id":5,"client_msg_id":"x","body":"b"}`, 400, "bad_request", "conversation_id"),
		post("a user for a conversation", `{"conversation_id":"{bob}","client_msg_id":"x","body":"b"}`, 404, "not_found", ""),
		restCase{name: "a word for a member", method: "POST", path: "conversations", body: `{"kind":"direct","member_ids":["` + canary + `"]}`, status: 400, code: "bad_id", field: "member_ids[0]"},
		restCase{name: "a member who does not exist", method: "POST", path: "conversations", body: `{"kind":"direct","member_ids":["{nobody}"]}`, status: 404, code: "not_found", field: "member_ids"},
		restCase{name: "a conversation for a member", method: "POST", path: "conversations", body: `{"kind":"group","name":"G","member_ids":["{bob}","{k}"]}`, status: 404, code: "not_found", field: "member_ids"},
		restCase{name: "myself alone", method: "POST", path: "conversations", body: `{"kind":"direct","member_ids":[]}`, status: 422, code: "invalid", field: "member_ids"},
		restCase{name: "an unknown kind", method: "POST", path: "conversations", body: `{"kind":"` + canary + `","member_ids":["{bob}"]}`, status: 422, code: "invalid", field: "kind"},
		restCase{name: "a word for a session", method: "DELETE", path: "auth/sessions/" + canary, status: 400, code: "bad_id", field: "id"},
		restCase{name: "another's session", method: "DELETE", path: "auth/sessions/{session}", status: 404, code: "not_found"},
		restCase{name: "read mark beyond the last", method: "PUT", path: "conversations/{k}/read", body: `{"seq":99}`, status: 422, code: "invalid", field: "seq"},
		restCase{name: "read mark below zero", method: "PUT", path: "conversations/{k}/read", body: `{"seq":-1}`, status: 422, code: "invalid", field: "seq"},
		restCase{name: "read mark of 2^63", method: "PUT", path: "conversations/{k}/read", body: `{"seq":9223372036854775808}`, status: 422, code: "invalid", field: "seq"},
		restCase{name: "read mark of a fraction", method: "PUT", path: "conversations/{k}/read", body: `{"seq":1.5}`, status: 400, code: "bad_request", field: "seq"},
	)
}

// cursors are forged, foreign and odd ways to page.
func cursors() (all []restCase) {
	lists := []string{"messages", "conversations", "conversations/{k}/messages", "users?q=alice"}
	join := func(list, parameter string) string {
		if strings.Contains(list, "?") {
			return list + "&" + parameter
		}
		return list + "?" + parameter
	}
	for _, list := range lists {
		for _, cursor := range []string{canary, "0", "00000000000000000000000000000000", "../..", strings.Repeat("A", 4096), "%27%20OR%201=1"} {
			all = append(all, get(list+" cursor "+cursor[:min(len(cursor), 12)], join(list, "cursor="+cursor), 400, "bad_cursor", "cursor"))
		}
		for _, limit := range []string{"0", "-1", "1000000000", "9223372036854775807"} {
			all = append(all, get(list+" limit "+limit, join(list, "limit="+limit), 200, "", ""))
		}
		for _, limit := range []string{"x", "1.5", "9223372036854775808", "1e3"} {
			all = append(all, get(list+" limit "+limit, join(list, "limit="+limit), 400, "bad_request", "limit"))
		}
	}
	for list, foreign := range map[string][]string{
		"messages":                   {"{bobs feed}", "{history}", "{list}"},
		"conversations":              {"{list}", "{feed}", "{history}"},
		"conversations/{k}/messages": {"{bobs history}", "{feed}", "{list}"},
		"users?q=alice":              {"{feed}", "{history}"},
	} {
		for _, cursor := range foreign {
			all = append(all, get(list+" cursor of "+cursor, join(list, "cursor="+cursor), 400, "bad_cursor", "cursor"))
		}
	}
	return append(all,
		get("feed", "messages?cursor={feed}", 200, "", ""),
		get("history", "conversations/{k}/messages?cursor={history}", 200, "", ""),
		get("cursor beside after_seq", "conversations/{k}/messages?cursor={history}&after_seq=1", 422, "invalid", "cursor"),
		get("after_seq beside before_seq", "conversations/{k}/messages?before_seq=2&after_seq=1", 422, "invalid", "cursor"),
		get("after_seq of 2^63", "conversations/{k}/messages?after_seq=9223372036854775808", 400, "bad_request", "after_seq"),
		get("after_seq of the far future", "conversations/{k}/messages?after_seq=9223372036854775807", 200, "", ""),
		get("cursor in lower case", "messages?cursor="+strings.Repeat("0a", 16), 400, "bad_cursor", "cursor"),
	)
}

func searches() (all []restCase) {
	for _, q := range []string{"%25", "_", "%22unclosed", "*", "%5B%5E%5D", ".*%7B1,99%7D", "'%3BDROP%20TABLE%20profiles%3B--", "%5C", "%27", "%20"} {
		all = append(all, get(q, "users?q="+q, 200, "", ""))
	}
	return append(all,
		get("none", "users", 422, "invalid", "q"),
		get("empty", "users?q=", 422, "invalid", "q"),
		get("65 characters", "users?q="+strings.Repeat("x", 65), 422, "too_long", "q"),
		get("10,000 terms", "users?q="+strings.Repeat("x+", 10_000), 400, "bad_request", ""),
		get("U+0000", "users?q=%00", 400, "bad_request", ""),
		get("no UTF-8", "users?q=%ff", 400, "bad_request", ""),
		get("no percent-encoding", "users?q=%zz", 400, "bad_request", ""),
		get("twice", "users?q=a&q=b", 200, "", ""),
	)
}
