package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/test/servers"
)

// TestServicesHaveRolesOfTheirOwn: each service logs in to PostgreSQL as a role
// that owns its schema and sees nothing of the others'.
func TestServicesHaveRolesOfTheirOwn(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	database := servers.Postgres(t)
	role := func(s obs.Service) obs.Secret { return obs.NewSecret(servers.PostgresRole(t, database, s.String())) }
	authDB, userDB, messagingDB := role(obs.Auth), role(obs.User), role(obs.Messaging)
	n := start(t, t.TempDir(), func(c *config.Config) {
		c.Database, c.AuthDB, c.UserDB, c.MessagingDB, c.Seal = obs.Secret{}, authDB, userDB, messagingDB, seal
	})
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	s, _, _ := bob.connect()
	alice.send(k, "c-1", "hi").want(t, 201)
	s.until("message")
	within(t, "the profile", func() bool { return alice.get("/api/v1/users/"+bob.id).text("display_name") == "Bob" })

	for table, as := range map[string]obs.Secret{"messaging.messages": authDB, "auth.accounts": userDB, `"user".profiles`: messagingDB} {
		if err := count(t, as.Reveal(), table); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s, by the role of another service: %v", table, err)
		}
	}
	if err := count(t, messagingDB.Reveal(), "messaging.messages"); err != nil {
		t.Errorf("by its own: %v", err)
	}
}

// count reads a table with a login.
func count(t *testing.T, url, table string) (err error) {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	defer func() { err = errors.Join(err, g.Stop(context.Background()).Err()) }()
	db, err := sqldb.Open(t.Context(), o, g, sqldb.Config{Service: obs.Messaging, URL: url})
	if err != nil {
		return err
	}
	return db.Read(t.Context(), "test.count", func(ctx context.Context, tx *sqldb.Tx) error {
		var n int
		return tx.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&n)
	})
}
