package client_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/nova-chat/nova/client"
)

func index(t *testing.T) string {
	t.Helper()
	page, err := fs.ReadFile(client.Files(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestIndexRefersOnlyToItsOwnFiles(t *testing.T) {
	refs := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(index(t), -1)
	if len(refs) < 3 {
		t.Fatalf("index.html refers to %d files, want its script, style and icon", len(refs))
	}
	for _, ref := range refs {
		name, own := strings.CutPrefix(ref[1], "/")
		if !own {
			t.Errorf("%s does not lead to the client's own files", ref[1])
			continue
		}
		if _, err := fs.Stat(client.Files(), name); err != nil {
			t.Errorf("%s: %v", ref[1], err)
		}
	}
}

// The server's policy allows neither; a browser would show an empty page.
func TestIndexHasNothingInline(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script[^>]*>[^<]`)
	if found := inline.FindString(index(t)); found != "" {
		t.Errorf("index.html contains %q", found)
	}
}

func TestAssetsCarryTheirHashInTheName(t *testing.T) {
	hashed := regexp.MustCompile(`^[a-z]+-[A-Za-z0-9_-]{8}\.(js|css)$`)
	entries, err := fs.ReadDir(client.Files(), "assets")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !hashed.MatchString(entry.Name()) {
			t.Errorf("assets/%s may not be cached for good", entry.Name())
		}
	}
}
