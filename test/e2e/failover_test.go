package e2e

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/servers"
)

// TestAStandbyTakesOver: a node does not go on under another history of its
// database. It stops; its successor has another epoch, and clients that resume
// are told to load afresh what is there now.
func TestAStandbyTakesOver(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	primary := servers.StartPostgres(t, servers.PostgresOptions{})
	standby := servers.StartStandby(t, primary)
	u, err := url.Parse(primary.URL)
	if err != nil {
		t.Fatal("the address of the database is none")
	}
	u.Host += "," + standby.Addr
	both := func(c *config.Config) {
		c.Database, c.Seal = obs.NewSecret(u.String()+"&target_session_attrs=read-write"), seal
	}
	dir := t.TempDir()
	one := start(t, dir, both)
	alice, bob := one.register("alice"), one.register("bob")
	k := alice.direct(bob)
	alice.send(k, "c-1", "before").want(t, 201)
	_, welcome, _ := bob.connect()
	<-time.After(time.Second) // the standby follows within milliseconds, and is not waited for
	if err := errors.Join(primary.Kill(), standby.Promote()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-one.apps[0].Done():
	case <-time.After(patience):
		t.Fatal("the node goes on")
	}
	if l := one.stop(); l.Err == nil {
		t.Error("it stopped as if all were well")
	}
	if lines := one.log.lines(t, "another history of the database answers"); len(lines) == 0 {
		t.Error("the log does not say why")
	}

	two := start(t, dir, both)
	alice.on(two).send(k, "c-2", "after").want(t, 201)
	s, again, missed := bob.on(two).connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{k: 1}})
	before, after := welcome["epoch"].(string), again["epoch"].(string)
	if before == after || before[:strings.IndexByte(before, '-')] != after[:strings.IndexByte(after, '-')] {
		t.Errorf("epoch %q, was %q", after, before)
	}
	if len(missed) != 1 || missed[0]["op"] != "resync" || missed[0]["reason"] != "epoch" {
		t.Errorf("told %v", missed)
	}
	alice.on(two).send(k, "c-3", "live").want(t, 201)
	if f := s.until("message"); f["message"].(map[string]any)["body"] != "live" {
		t.Errorf("got %v", f)
	}
}
