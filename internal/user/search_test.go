package user

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/id"
)

func TestSearchFindsLiterally(t *testing.T) {
	r := newRig(t)
	me := r.registered("me.myself", "Zed")
	for name, display := range map[string]string{
		"ann": "Anna Ö", "ann_b": "100% Ann", "annab": "Back\\slash", "bob": "Bobby [x]* ' OR 1=1 --", "carl": "ÄRGER",
	} {
		r.registered(name, display)
	}
	for q, want := range map[string][]string{
		"ann": {"ann", "ann_b", "annab"}, "ANN": {"ann", "ann_b", "annab"}, "nn_": {"ann_b"}, "%": {"ann_b"}, "_": {"ann_b"},
		`\`: {"annab"}, "[x]*": {"bob"}, "' or 1=1": {"bob"}, "ärger": {"carl"}, "Ärger": {"carl"}, "ö": {"ann"}, "nobody": nil,
		`"unclosed`: nil, "myself": {"me.myself"}, "zed": {"me.myself"}, "a%b": nil,
	} {
		got := r.want(200, "", me, "GET", "?q="+url.QueryEscape(q), "")
		if !slices.Equal(got.names(), want) {
			t.Errorf("%q found %v, want %v", q, got.names(), want)
		}
		if cursor, there := got.json["next_cursor"]; !there || cursor != nil || got.json["items"] == nil {
			t.Errorf("%q: %s", q, got.raw)
		}
	}
}

func TestSearchPages(t *testing.T) {
	r := newRig(t)
	me := r.registered("zz-me", "me")
	var all []SeededProfile
	for i := range 250 {
		name := fmt.Sprintf("user-%03d", i)
		all = append(all, SeededProfile{UserID: id.New(), Username: name, DisplayName: name, CreatedAt: time.Now()})
	}
	r.must(Seed(t.Context(), r.db, all))
	r.must(Seed(t.Context(), r.db, all)) // twice does no harm
	for limit, pages := range map[string]int{"": 13, "1000000000": 3, "100": 3, "99": 3, "-1": 250, "0": 250} {
		var seen []string
		n, cursor := 0, ""
		for ; n == 0 || cursor != ""; n++ {
			query := url.Values{"q": {"user-"}}
			if limit != "" {
				query.Set("limit", limit)
			}
			if cursor != "" {
				query.Set("cursor", cursor)
			}
			got := r.want(200, "", me, "GET", "?"+query.Encode(), "")
			seen = append(seen, got.names()...)
			cursor = got.text("next_cursor")
		}
		if n != pages || len(seen) != 250 || !slices.IsSorted(seen) || len(slices.Compact(seen)) != 250 {
			t.Errorf("limit %q: %d on %d pages, want 250 on %d", limit, len(seen), n, pages)
		}
	}
}

func TestSearchRefusals(t *testing.T) {
	r := newRig(t)
	me := r.registered("alice", "Alice")
	r.registered("alicia", "Alicia")
	cursor := r.want(200, "", me, "GET", "?q=ali&limit=1", "").text("next_cursor")
	for query, want := range map[string]string{
		"": "422 invalid", "?q=": "422 invalid", "?q=" + strings.Repeat("a", 65): "422 too_long",
		"?q=bob&cursor=" + cursor: "400 bad_cursor", "?q=ali&cursor=x": "400 bad_cursor", "?q=ali&cursor=" + cursor + "A": "400 bad_cursor",
		"?q=ali&cursor=" + strings.Repeat("A", 5000): "400 bad_cursor", "?q=ali&cursor=%00": "400 bad_",
		"?q=%00": "4", "?q=%ff": "4", "?q=ali&limit=x": "400 bad_request", "?q=ali&limit=1.5": "400 bad_request",
		"?q=ali&limit=99999999999999999999": "4",
	} {
		got := r.call(me, "GET", query, "")
		if s := fmt.Sprintf("%d %s", got.status, got.text("code")); !strings.HasPrefix(s, want) {
			t.Errorf("%.40q: %s %s, want %s", query, s, got.raw, want)
		}
	}
	if got := r.want(200, "", me, "GET", "?q=ali&cursor="+cursor, ""); !slices.Equal(got.names(), []string{"alicia"}) {
		t.Errorf("the cursor goes on with %v", got.names())
	}
}

func FuzzReadCursor(f *testing.F) {
	f.Add("ali", writeCursor("ali", "alice"))
	f.Add("", "")
	f.Fuzz(func(t *testing.T, text, cursor string) {
		after, err := readCursor(text, cursor)
		if err != nil {
			return
		}
		if cursor != "" && writeCursor(text, after) != cursor {
			t.Errorf("%q was read and is not what would be written", cursor)
		}
	})
}
