package messaging

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/sqldb"
)

// remembers says whether the next message of a conversation would go by what this
// process remembers.
func (r *rig) remembers(no int64) bool {
	_, ok := r.s.ends.recall(r.s.outbox, []int64{no}, map[int64]*head{})
	return ok
}

// TestRememberedHeads: as long as nobody else writes, the ends of conversations are
// not read again; who else does is noticed, whatever it was, and nothing is
// numbered twice or left out.
func TestRememberedHeads(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		a, b := rigAt(t, url), rigAt(t, url)
		defer a.stop()
		defer b.stop()
		alice, bob := somebody("laptop"), somebody("phone")
		k := a.room(alice, bob)
		room, err := a.s.mayPost(cause(), k, alice.UserID)
		a.must(err)
		var seq, pos int64
		send := func(r *rig, text string) {
			t.Helper()
			o := r.post(alice, k, text)
			seq++
			if pos++; o.row.seq != seq || o.row.pos != pos {
				t.Fatalf("%s has seq %d and pos %d, want %d and %d", text, o.row.seq, o.row.pos, seq, pos)
			}
		}
		noticed := func(want bool, what string) {
			t.Helper()
			if got := !a.s.ends.from.IsZero(); got != want || !a.s.lookUntil.IsZero() {
				t.Errorf("%s: noticed %v, want %v; repeats are looked for until %v", what, got, want, a.s.lookUntil)
			}
			a.s.ends.from = time.Time{}
		}

		pos = room.no
		send(a, "first")
		if !a.remembers(room.no) {
			t.Fatal("nothing is remembered")
		}
		send(a, "by memory")
		noticed(false, "its own")
		other := a.room(alice, somebody("tablet"))
		pos++ // of the conversation
		send(a, "after its own conversation")
		noticed(false, "its own conversation")
		otherRoom, err := a.s.mayPost(cause(), other, alice.UserID)
		a.must(err)
		if a.remembers(otherRoom.no) {
			t.Error("a conversation without messages is remembered")
		}

		send(b, "the other process")
		if !a.remembers(room.no) {
			t.Error("it knows already, and nothing is tried")
		}
		send(a, "after the other process")
		noticed(true, "a message of another process")
		send(a, "by memory again")
		noticed(false, "its own after that")
		b.room(bob, somebody("tablet"))
		pos++
		send(a, "after another process's conversation")
		noticed(true, "a conversation of another process")

		// It may learn of others' positions by way of something else, which says
		// nothing of this conversation.
		send(b, "the other process, again")
		a.room(alice, somebody("watch"))
		pos++
		send(a, "after that and its own conversation")
		send(b, "the other process, once more")
		a.post(alice, other, "elsewhere")
		pos++
		send(a, "after that and a message elsewhere")
		noticed(false, "what it learnt otherwise")

		failed := errors.New("rolled back")
		err = a.s.db.Write(cause(), "test.failed", func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := a.s.appendBatch(ctx, tx, []*post{newPost(cause(), room, by(alice), Draft{k, id.New(), "lost"}, "")})
			a.must(err)
			return failed
		})
		if !errors.Is(err, failed) {
			t.Fatal(err)
		}
		send(a, "after one that was taken back")
		noticed(false, "what was taken back")
	})
}

// TestHeadsOfManyAreForgotten bounds what is remembered.
func TestHeadsOfManyAreForgotten(t *testing.T) {
	r := single(t)
	var e ends
	for no := range int64(3 * maxEnds) {
		e.keep(r.s.outbox, map[int64]*head{no: {lastSeq: no}, -1 - no: nil})
	}
	if n := len(e.heads); n == 0 || n > maxEnds {
		t.Errorf("%d heads are remembered, at most %d may be", n, maxEnds)
	}
}
