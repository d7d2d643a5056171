package app

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a document in docs with what the code says now.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := "../../docs/" + file
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/%s is old, run make generate (-file +code):\n%s", file, diff)
	}
}

func TestGoldenMetrics(t *testing.T) {
	m, _, err := Catalogue(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Static()); n >= 1000 {
		t.Errorf("%d series in a process; the goal is below 1000", n)
	}
	m.Wire()
	m.Certificates()
	golden(t, "metrics.md", []byte(m.Document()))
}

// TestServicesApartStayBelowTheBudget: two processes of each service, with what
// the Go runtime and Prometheus itself add.
func TestServicesApartStayBelowTheBudget(t *testing.T) {
	const most, besides = 5000, 55
	total := 0
	for _, s := range obs.Services() {
		cfg := config.Default()
		cfg.Services, cfg.RPCIdentity = []obs.Service{s}, "a certificate"
		m, _, err := Catalogue(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s %d", s, len(m.Static()))
		total += 2 * (len(m.Static()) + besides)
	}
	if total >= most {
		t.Errorf("%d series in ten processes, want fewer than %d", total, most)
	}
}

func TestGoldenOpenAPI(t *testing.T) {
	_, r, err := Catalogue(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := r.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	if info, ok := v["info"].(map[string]any); ok {
		info["version"] = "devel" // a build has its own
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	golden(t, "openapi.json", b.Bytes())
}
