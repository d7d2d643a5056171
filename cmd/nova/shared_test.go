package main

import (
	"crypto/rand"
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nova-chat/nova/test/servers"
)

// TestScriptsOfSharedServers types the commands as operators of several nodes
// do; the scripts find a database, a Redis, a Kafka, a prefix and a seal of
// their own in their environment.
func TestScriptsOfSharedServers(t *testing.T) {
	postgres, redis, kafka := servers.Postgres(t), servers.Redis(t), servers.Kafka(t)
	seal := make([]byte, 32)
	if _, err := rand.Read(seal); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:  filepath.Join("..", "..", "test", "scripts", "shared"),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"ports": ports, "ready": ready, "terminate": terminate},
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("POSTGRES", postgres)
			e.Setenv("REDIS", redis)
			e.Setenv("KAFKA", strings.Join(kafka, ","))
			e.Setenv("APART", "t-"+strings.ToLower(rand.Text()))
			e.Setenv("SEAL", base64.StdEncoding.EncodeToString(seal))
			return nil
		},
	})
}
