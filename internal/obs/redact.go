package obs

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
)

// redactor blots out what must not be seen. It is the second net: the first is
// that nothing secret is given to a logger at all.
type redactor struct {
	mu       sync.Mutex
	values   []string // old, new, old, new, ...
	replacer atomic.Pointer[strings.Replacer]
}

// shortest is the length below which a value is not searched for: it would
// blot out innocent text.
const shortest = 6

func (r *redactor) hide(value string) {
	if len(value) < shortest {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, form := range []string{
		value, url.QueryEscape(value), url.PathEscape(value), hex.EncodeToString([]byte(value)),
		base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value)),
	} {
		r.values = append(r.values, form, "[hidden]")
	}
	r.replacer.Store(strings.NewReplacer(r.values...))
}

// known blots out the hidden values.
func (r *redactor) known(s string) string {
	if rep := r.replacer.Load(); rep != nil {
		return rep.Replace(s)
	}
	return s
}

// Text from libraries may hold what was never given to Hide: user information
// in addresses, signed identities, PEM blocks.
var shapes = regexp.MustCompile(`://[^/@\s]*@|eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*|-----BEGIN[\s\S]*`)

// The audit's literal search of the log folder is for these words, so texts
// that others wrote must not bring them in.
var words = regexp.MustCompile(`(?i)password|secret|token|key|credential`)

// foreign makes text from outside Nova fit for the log.
func (r *redactor) foreign(s string) string {
	s = shapes.ReplaceAllString(r.known(s), "[hidden]")
	return words.ReplaceAllString(s, "[word]")
}
