// Package client holds the web client as it is served: the built files of
// dist, which are committed so that building Nova needs no Node.js.
//
// It guarantees that the files are there, that index.html refers to nothing
// outside of them, and that they work under a Content-Security-Policy without
// inline scripts or styles. It does not guarantee that they were built from the
// sources beside it; CI rebuilds them and compares.
package client

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files is the client's document root: index.html, and under assets/ files
// whose names change with their content, so that these may be cached for good.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		// Only an invalid path fails, and the path is the constant above.
		panic(err)
	}
	return files
}
