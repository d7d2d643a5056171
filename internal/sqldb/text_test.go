package sqldb

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIn(t *testing.T) {
	for want, got := range map[string]string{
		"(NULL)": In(0, 1), "($1)": In(1, 1), "($9, $10, $11)": In(3, 9),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCheckText(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT 1":                          "",
		"SELECT $1, $2, $1, $3":             "",
		"SELECT '$2 ? @', $1":               "",
		"SELECT 'it''s $2', $1":             "",
		"SELECT \"$2\", $1 -- $7 ?\n, $2":   "",
		"SELECT $1 /* $9 */ - 1 / $2 -- $4": "",
		"SELECT 'open $2":                   "",
		"SELECT $2":                         "$2 appears before $1",
		"SELECT $1, $3, $2":                 "$3 appears before $2",
		"SELECT $0":                         "without a number",
		"SELECT $name":                      "without a number",
		"SELECT ?":                          "only $1",
		"SELECT @a":                         "only $1",
	} {
		err := CheckText(query)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func TestAssign(t *testing.T) {
	type role string
	var (
		s    string
		i    int
		u8   uint8
		f    float64
		b    bool
		r    role
		a    any
		raw  []byte
		null sql.NullInt64
	)
	for _, c := range []struct {
		dest any
		from any
		ok   bool
	}{
		{&s, "x", true},
		{&s, int64(1), false},
		{&s, nil, false},
		{&i, int64(-3), true},
		{&i, "3", false},
		{&u8, int64(255), true},
		{&u8, int64(256), false},
		{&u8, int64(-1), false},
		{&f, 1.5, true},
		{&b, int64(1), true},
		{&b, true, true},
		{&r, "admin", true},
		{&a, nil, true},
		{&raw, []byte{1}, true},
		{&raw, "t", true},
		{&raw, int64(1), false},
		{&null, nil, true},
		{s, "x", false},
		{(*role)(nil), "x", false},
	} {
		if err := assign(c.dest, c.from); (err == nil) != c.ok {
			t.Errorf("%T from %v: %v", c.dest, c.from, err)
		}
	}
	if diff := cmp.Diff([]any{"x", -3, uint8(255), 1.5, true, role("admin")}, []any{s, i, u8, f, b, r}); diff != "" {
		t.Error(diff)
	}
}

func TestValue(t *testing.T) {
	type role string
	now := time.Now()
	for _, c := range []struct {
		in, want any
		ok       bool
	}{
		{role("a"), "a", true},
		{uint16(3), int64(3), true},
		{sql.NullString{}, nil, true},
		{7, int64(7), true},
		{now, nil, false},
		{&now, nil, false},
		{sql.NullTime{Time: now, Valid: true}, nil, false},
		{struct{}{}, nil, false},
	} {
		got, err := value(c.in)
		if (err == nil) != c.ok || err == nil && got != c.want {
			t.Errorf("%T: %v, %v", c.in, got, err)
		}
	}
}

func FuzzCheckText(f *testing.F) {
	f.Add("SELECT $1, '$2' -- $3\n")
	f.Fuzz(func(t *testing.T, query string) {
		if CheckText(query) == nil && strings.HasPrefix(query, "$2") {
			t.Errorf("%q was accepted", query)
		}
	})
}
