package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nova-chat/nova/internal/fault"
)

const (
	apiPrefix  = "/api"
	maxPath    = 2 << 10 // bytes
	maxQuery   = 8 << 10 // bytes
	maxHeaders = 100     // fields of one request
)

// isAPI says whether a path belongs to the interface for programs.
func isAPI(path string) bool {
	return path == apiPrefix || strings.HasPrefix(path, apiPrefix+"/")
}

// clean says whether a path has one reading only. The mux would answer some of
// the others with a redirect, proxies read them differently, and no client of
// ours sends them.
func clean(u *url.URL) bool {
	p := u.Path
	if len(p) > maxPath || !strings.HasPrefix(p, "/") || !utf8.ValidString(p) {
		return false
	}
	if strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
		return false
	}
	if p != "/" && strings.HasSuffix(p, "/") {
		return false
	}
	for segment := range strings.SplitSeq(p[1:], "/") {
		if segment == "." || segment == ".." || segment == "" && p != "/" {
			return false
		}
	}
	return !hidesSeparators(u.RawPath)
}

// hidesSeparators looks for characters in percent-encoding that would change
// the shape of the path. raw is empty unless its encoding is unusual.
func hidesSeparators(raw string) bool {
	for {
		_, rest, found := strings.Cut(raw, "%")
		if !found || len(rest) < 2 {
			return false
		}
		switch strings.ToLower(rest[:2]) {
		case "2f", "2e", "5c":
			return true
		}
		raw = rest
	}
}

// Parameters by which people try to send what proves their identity. Addresses
// end up in histories and in the logs of everything on the way.
var proofNames = []string{"access_token", "token", "refresh_token", "id_token", "ticket", "jwt", "bearer", "authorization"}

// checkQuery refuses a query that has no single reading or holds a proof of
// identity. The faults never say what stood there.
func checkQuery(u *url.URL) *fault.Error {
	if u.RawQuery == "" {
		return nil
	}
	if len(u.RawQuery) > maxQuery {
		return fault.Newf(fault.CodeBadRequest, "The query is longer than %d bytes.", maxQuery)
	}
	values, err := url.ParseQuery(u.RawQuery)
	for name := range values {
		if slices.Contains(proofNames, strings.ToLower(name)) {
			return fault.New(fault.CodeTokenInURL, "A proof of identity does not belong into an address. Send it in the Authorization header.")
		}
	}
	if err != nil {
		return fault.New(fault.CodeBadRequest, "The query is not in the form name=value&name=value.")
	}
	for _, all := range values {
		for _, v := range all {
			if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
				return fault.New(fault.CodeBadRequest, "The query is not UTF-8 text.")
			}
		}
	}
	return nil
}

// countFields is the number of header fields, repeated ones included.
func countFields(h http.Header) int {
	n := 0
	for _, values := range h {
		n += len(values)
	}
	return n
}
