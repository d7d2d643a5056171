package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/obs"
)

var update = flag.Bool("update", false, "write the golden files")

func TestDocumentIsCommitted(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "config.md")
	if *update {
		if err := os.WriteFile(path, []byte(Document()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != Document() {
		t.Error("docs/config.md is out of date: go test ./internal/config -update")
	}
}

// TestEveryFieldIsASetting finds a field that no row of the settings sets.
func TestEveryFieldIsASetting(t *testing.T) {
	var c Config
	rows := map[uintptr]bool{}
	for _, s := range c.settings() {
		v := reflect.ValueOf(s.value)
		for v.Elem().Kind() == reflect.Struct && v.Elem().Field(0).Kind() == reflect.Pointer {
			v = v.Elem().Field(0) // a value that holds the pointer to its field
			break
		}
		rows[v.Pointer()] = true
	}
	var fields func(v reflect.Value)
	fields = func(v reflect.Value) {
		for i := range v.NumField() {
			f := v.Field(i)
			if f.Type() == reflect.TypeFor[Limits]() {
				fields(f)
			} else if !rows[f.Addr().Pointer()] {
				t.Errorf("%s is set by no row", v.Type().Field(i).Name)
			}
		}
	}
	fields(reflect.ValueOf(&c).Elem())
}

func TestNamesAreUniqueAndSpelledAlike(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Settings() {
		if seen[s.Flag()] || seen[s.Env()] {
			t.Errorf("%s shares a spelling with another setting", s.Key)
		}
		seen[s.Flag()], seen[s.Env()] = true, true
		if s.Doc == "" || s.Value == "" {
			t.Errorf("%s is not documented", s.Key)
		}
	}
	for _, want := range []string{"data-dir", "NOVA_DATA_DIR", "limits-messages-per-user", "NOVA_LIMITS_MESSAGES_PER_USER", "listen-grpc", "NOVA_RPC"} {
		if !seen[want] {
			t.Errorf("no setting is spelled %s", want)
		}
	}
}

func TestPrintedConfigurationLoadsAgain(t *testing.T) {
	c := Default()
	c.DataDir, c.Origins = "/a b/'c'", []string{"https://x.example"}
	c.Limits.LoginsPerAddress.Burst = 7
	l, err := Load(Inputs{File: write(t, c.YAML(nil))})
	if err != nil {
		t.Fatalf("%v in\n%s", err, c.YAML(nil))
	}
	if a, b := fmt.Sprint(c.Entries(nil)), fmt.Sprint(l.Config.Entries(nil)); a != b {
		t.Errorf("printed  %s\nread back %s", a, b)
	}
}

func TestSecretsAreMaskedEverywhere(t *testing.T) {
	c := Default()
	c.Database, c.Redis = obs.NewSecret("postgres://u:"+canary+"@h/d"), obs.NewSecret(canary)
	c.Services, c.KafkaPass = c.Services[:1], obs.NewSecret(canary) // the former is an error
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"yaml": c.YAML(map[string]string{"redis": "environment NOVA_REDIS"}), "entries": fmt.Sprintf("%+v", c.Entries(nil)),
		"fmt": fmt.Sprintf("%+v %#v", c, c), "json": string(j), "error": c.Validate().Error(),
	} {
		if strings.Contains(text, canary) {
			t.Errorf("%s shows it: %s", name, text)
		}
	}
	if !strings.Contains(c.YAML(nil), "[secret]") {
		t.Error("a masked value must be seen to be set")
	}
}

func TestRate(t *testing.T) {
	c := Default()
	if got := c.Limits.ConnectsPerAddress.PerSecond(); got != 10 {
		t.Errorf("600 a minute are %v a second", got)
	}
}
