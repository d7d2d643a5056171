package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// assets are files in memory, by path without the first slash.
type assets map[string]asset

type asset struct {
	body []byte
	kind string
	etag string
}

// kinds are the media types of what Nova serves; the system's own table, which
// package mime reads, differs from machine to machine.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8", ".json": "application/json", ".map": "application/json",
	".webmanifest": "application/manifest+json", ".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg",
	".webp": "image/webp", ".ico": "image/x-icon", ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8",
}

const kindUnknown = "application/octet-stream"

// pagePolicy lets a page load from here alone and run no inline script. Older
// browsers do not take 'self' to cover sockets.
const pagePolicy = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func loadAssets(fsys fs.FS) (assets, error) {
	all := assets{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		all[name] = newAsset(name, body)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load files: %w", err)
	}
	return all, nil
}

func newAsset(name string, body []byte) asset {
	kind := kinds[path.Ext(name)]
	if kind == "" {
		kind = kindUnknown
	}
	sum := sha256.Sum256(body)
	return asset{body: body, kind: kind, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
}

// serve answers with the file, or with 304 if the client has it.
func (a asset) serve(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	h.Set("Etag", a.etag)
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(a.body))
}

// serveFile answers with a file of the web client.
func (r *Router) serveFile(w http.ResponseWriter, req *http.Request) {
	name := strings.TrimPrefix(req.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	a, ok := r.assets[name]
	if !ok {
		notFound(w, req)
		return
	}
	a.serve(w, req)
}
