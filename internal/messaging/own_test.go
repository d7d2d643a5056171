package messaging

import (
	"context"
	"errors"
	"testing"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/sqldb"
)

// TestAPositionThatAnotherNodeTookHasItsOwnOrigin: a transaction fails, as when
// the database is stopped, and another node takes its positions. Its messages
// must reach the sockets whose sends failed.
func TestAPositionThatAnotherNodeTookHasItsOwnOrigin(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	t.Cleanup(r.stop)
	alice, bob := somebody("laptop"), somebody("phone")
	k := r.room(alice, bob)
	room, err := r.s.mayPost(cause(), k, alice.UserID)
	r.must(err)
	var lost *row
	failed := errors.New("rolled back")
	err = r.s.db.Write(cause(), "test.failed", func(ctx context.Context, tx *sqldb.Tx) error {
		got, err := r.s.appendBatch(ctx, tx, []*post{newPost(cause(), room, by(alice), Draft{k, id.New(), "lost"}, "socket-1")})
		r.must(err)
		lost = got[0].Value.row
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	other := newRig(t, dir)
	t.Cleanup(other.stop)
	other.s.accounts.cache.Set(alice.UserID, struct{}{})
	stored := other.post(bob, k, "hello").row
	if stored.pos != lost.pos {
		t.Fatalf("the other node took %d, not %d", stored.pos, lost.pos)
	}
	var list []bus.Envelope
	r.must(r.s.db.Read(cause(), "test.log", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err = r.s.readLog(ctx, tx, stored.pos-1, stored.pos, 1)
		return err
	}))
	if len(list) != 1 || list[0].Origin != "" {
		t.Errorf("the other node's message comes from %q here", list[0].Origin)
	}
	if r.s.origins.note(stored, "socket-2"); r.s.origins.of(stored) != "socket-2" {
		t.Error("an origin is forgotten")
	}
}
