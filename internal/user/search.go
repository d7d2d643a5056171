package user

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/sqldb"
)

const (
	maxQuery     = 64 // runes
	defaultLimit = 20
	maxLimit     = 100
	cursorSum    = 12 // bytes of the query's hash
)

// page is a part of a list. next is "" at the end.
type page struct {
	items []profile
	next  string
}

// search finds people whose user name or display name holds the text.
func (s *Service) search(ctx context.Context, text, cursor string, limit int) (page, error) {
	text = strings.ToLower(text)
	switch n := utf8.RuneCountInString(text); {
	case n == 0 || !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return page{}, fault.OnField(fault.CodeInvalid, "q", "1 to 64 characters to look for")
	case n > maxQuery:
		return page{}, fault.OnField(fault.CodeTooLong, "q", "at most 64 characters")
	}
	after, err := readCursor(text, cursor)
	if err != nil {
		return page{}, err
	}
	limit = max(1, min(limit, maxLimit))
	var p page
	err = s.deps.DB.Read(ctx, "user.search", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		p.items, err = searchProfiles(ctx, tx, text, after, limit+1)
		return err
	})
	if len(p.items) > limit { // the one more tells that there is a next page
		p.items = p.items[:limit]
		p.next = writeCursor(text, p.items[limit-1].username)
	}
	return p, err
}

// A cursor names the last user name of a page, and the search that it belongs
// to by a hash, so that it fits no other list.
func writeCursor(text, last string) string {
	sum := listSum(text)
	return base64.RawURLEncoding.EncodeToString(append(sum[:cursorSum:cursorSum], last...))
}

func listSum(text string) [sha256.Size]byte { return sha256.Sum256([]byte("users\x00" + text)) }

func readCursor(text, cursor string) (after string, err error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	sum := listSum(text)
	if err != nil || len(raw) <= cursorSum || string(raw[:cursorSum]) != string(sum[:cursorSum]) || !printable(raw[cursorSum:]) {
		return "", fault.OnField(fault.CodeBadCursor, "cursor", "next_cursor of the same search")
	}
	return string(raw[cursorSum:]), nil
}

// printable says whether the bytes can be part of a user name, so that a forged
// cursor brings nothing odd to the database.
func printable(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
