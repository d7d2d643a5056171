package messaging

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/test/servers"
)

// onEngines runs a test on each engine.
func onEngines(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "nova.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, servers.Postgres(t)) })
}

// told is a conversation and what was said in it, in order.
type told struct {
	no   int64
	rows []row
}

// tell posts so many messages to conversations of three people, in turns, so that
// the messages of one are not next to each other.
func tell(r *rig, people []token.Identity, lengths ...int) []told {
	r.Helper()
	all := make([]told, len(lengths))
	rooms := make([]*room, len(lengths))
	for i := range lengths {
		var err error
		rooms[i], err = r.s.rooms.get(cause(), r.room(people...))
		r.must(err)
		all[i].no = rooms[i].no
	}
	answers := make(chan error)
	n := 0
	for turn := range slices.Max(lengths) {
		for i, length := range lengths {
			if turn >= length {
				continue
			}
			n++
			who := people[(turn*turn+i)%len(people)]
			post := newPost(cause(), rooms[i], by(who), Draft{rooms[i].id, id.New(), fmt.Sprint(i, " ", turn)}, "")
			r.s.appends.Submit(context.Background(), post, func(o outcome, err error) {
				all[i].rows = append(all[i].rows, *o.row)
				answers <- err
			})
		}
	}
	for range n {
		r.must(<-answers)
	}
	return all
}

func (r *rig) read(fn func(ctx context.Context, tx *sqldb.Tx) error) {
	r.Helper()
	r.must(r.s.db.Read(cause(), "test.read", fn))
}

func positions(rows []row) (all []int64) {
	for _, r := range rows {
		all = append(all, r.pos)
	}
	return all
}

// stretch is the plain way to what readStretch gives.
func (c *told) stretch(after, upTo int64) (all []row) {
	for _, r := range c.rows {
		if r.seq > after && r.seq <= upTo {
			all = append(all, r)
		}
	}
	return all
}

// TestChain: whatever part of a conversation is asked for comes whole and in order,
// wherever it lies between the messages that the index holds.
func TestChain(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		r := rigAt(t, url)
		defer r.stop()
		people := []token.Identity{somebody("laptop"), somebody("laptop"), somebody("laptop")}
		ends := []int64{0, 1, 2, 40, 63, 64, 65, 100, 127, 128, 129, 199, 200, 201, 500, endOfTime}
		for _, c := range tell(r, people, 0, 1, 63, 64, 65, 128, 200) {
			for _, after := range ends {
				r.read(func(ctx context.Context, tx *sqldb.Tx) error { // one for all would take too long
					for _, upTo := range ends {
						c.checkStretch(ctx, r, tx, after, upTo)
					}
					c.checkUnread(ctx, r, tx, people[0].UserID, after)
					return nil
				})
			}
			c.checkSeqAt(r)
		}
	})
}

func (c *told) checkStretch(ctx context.Context, r *rig, tx *sqldb.Tx, after, upTo int64) {
	want := c.stretch(after, upTo)
	got, err := readStretch(ctx, tx, c.no, after, upTo)
	r.must(err)
	if !slices.Equal(positions(got), positions(want)) {
		r.Errorf("%d messages: after %d up to %d is at %v, want %v", len(c.rows), after, upTo, positions(got), positions(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i].seq != want[i].seq || got[i].body != want[i].body || got[i].sender != want[i].sender {
			r.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	by, wantBy := map[int64]string{}, map[int64]string{}
	for _, m := range want {
		wantBy[m.seq] = m.sender
	}
	r.must(readSenders(ctx, tx, c.no, after, upTo, by))
	if !maps.Equal(by, wantBy) {
		r.Errorf("%d messages: after %d up to %d is by %v, want %v", len(c.rows), after, upTo, by, wantBy)
	}
}

func (c *told) checkUnread(ctx context.Context, r *rig, tx *sqldb.Tx, reader string, after int64) {
	var want int64
	for _, m := range c.rows {
		if m.seq > after && m.sender != reader {
			want++
		}
	}
	for _, most := range []int64{1, 20, 1000} {
		got, err := countUnread(ctx, tx, c.no, reader, after, most)
		r.must(err)
		if got != min(want, most) {
			r.Errorf("%d messages: %d unread after %d, want %d and at most %d", len(c.rows), got, after, want, most)
		}
	}
}

func (c *told) checkSeqAt(r *rig) {
	if len(c.rows) == 0 {
		return
	}
	last := c.rows[len(c.rows)-1]
	for _, first := range []int64{0, 1, 70} {
		for pos := c.no; pos < last.pos && first < last.seq; pos += 7 { // else nobody asks
			want := first
			for _, m := range c.rows {
				if m.pos <= pos {
					want = max(want, m.seq)
				}
			}
			r.read(func(ctx context.Context, tx *sqldb.Tx) error {
				got, err := seqAt(ctx, tx, stand{no: c.no, firstSeq: first, lastSeq: last.seq}, pos)
				if got != want {
					r.Errorf("%d messages, from %d on: position %d is at %d, want %d", len(c.rows), first, pos, got, want)
				}
				return err
			})
		}
	}
}

// TestChainStaysInItsConversation: a row that names another conversation's message
// as the one before it, which only damage can make, gives nobody that message.
func TestChainStaysInItsConversation(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		r := rigAt(t, url)
		defer r.stop()
		people := []token.Identity{somebody("laptop"), somebody("laptop"), somebody("laptop")}
		all := tell(r, people, 30, 30)
		mine, other := &all[0], &all[1]
		r.must(r.s.db.Write(cause(), "test.damage", func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE messages SET prev_pos = $1 WHERE pos = $2`, other.rows[10].pos, mine.rows[20].pos)
			return err
		}))
		r.read(func(ctx context.Context, tx *sqldb.Tx) error {
			got, err := readStretch(ctx, tx, mine.no, 0, 30)
			if want := positions(mine.rows[20:]); !slices.Equal(positions(got), want) {
				t.Errorf("got %v, want %v", positions(got), want)
			}
			n, unreadErr := countUnread(ctx, tx, mine.no, "", 0, 1000)
			if n != 10 {
				t.Errorf("%d unread, want 10", n)
			}
			r.must(unreadErr)
			return err
		})
	})
}

// TestChainOfEarlierMessages: messages of the tables before 0002 are found as ever.
func TestChainOfEarlierMessages(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		const each = 150
		all := []told{{no: 1}, {no: 2}}
		r := rigAt(t, url, func(db *sqldb.DB) { writeEarlier(t, db, all, each) })
		defer r.stop()
		r.read(func(ctx context.Context, tx *sqldb.Tx) error {
			for i := range all {
				for _, after := range []int64{0, 63, 100, each} {
					all[i].checkStretch(ctx, r, tx, after, each)
				}
			}
			return nil
		})
		r.post(token.Identity{UserID: earlierUser, SessionID: id.New(), DeviceID: "d"}, earlierID(2), "now")
		r.read(func(ctx context.Context, tx *sqldb.Tx) error {
			got, err := readStretch(ctx, tx, 2, 0, each+1)
			if len(got) != each+1 || got[each].body != "now" {
				t.Errorf("after one more there are %d, want %d", len(got), each+1)
			}
			return err
		})
		twice := func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Insert(ctx, "messages", earlierColumns, earlierRow(&row{pos: 1000, no: 2, seq: 64, sender: earlierUser}))
		}
		if r.s.db.Write(cause(), "test.earlier_program", twice) == nil {
			t.Error("a program of before writes a message that nobody would find")
		}
	})
}

const earlierUser = someID

func earlierID(no int64) string { return fmt.Sprintf("%026d", no) }

var earlierColumns = []string{"pos", "no", "seq", "sender_id", "device_id", "device_hash", "client_msg_id", "body", "correlation_id", "created_at"}

func earlierRow(m *row) []any {
	return []any{m.pos, m.no, m.seq, m.sender, "d", int64(1), fmt.Sprint("c", m.pos), m.body, "corr", int64(1)}
}

// writeEarlier makes the tables as they were before 0002, with messages in two
// conversations by turns.
func writeEarlier(t *testing.T, db *sqldb.DB, all []told, each int64) {
	t.Helper()
	first, err := fs.ReadFile(Migrations(), "0001_messages.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(cause(), "messaging", fstest.MapFS{"0001_messages.sql": {Data: first, ModTime: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	err = db.Write(cause(), "test.earlier", func(ctx context.Context, tx *sqldb.Tx) error {
		pos := int64(len(all))
		var args []any
		for seq := range each {
			for i := range all {
				pos++
				m := row{pos: pos, no: all[i].no, seq: seq + 1, sender: earlierUser, body: fmt.Sprint("body ", pos)}
				all[i].rows = append(all[i].rows, m)
				args = append(args, earlierRow(&m)...)
			}
		}
		if err := tx.Insert(ctx, "messages", earlierColumns, args); err != nil {
			return err
		}
		for i := range all {
			c := &all[i]
			last := c.rows[each-1]
			if _, err := tx.Exec(ctx, `INSERT INTO conversations (no, id, kind, name, created_by, created_at) VALUES ($1, $2, 'group', '', '', 1)`, c.no, earlierID(c.no)); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `INSERT INTO heads (no, last_seq, last_pos, members_version) VALUES ($1, $2, $3, 1)`, c.no, each, last.pos); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `INSERT INTO members (no, user_id, role, first_seq, read_seq) VALUES ($1, $2, 'member', 0, 0)`, c.no, earlierUser); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE positions SET taken = $1`, pos)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCatchingUpPassesOverAGap: what damage took from the log is not the end of it.
func TestCatchingUpPassesOverAGap(t *testing.T) {
	r := single(t)
	people := []token.Identity{somebody("laptop"), somebody("laptop"), somebody("laptop")}
	c := tell(r, people, 200)[0]
	k := c.rows[0].conversation
	r.must(r.s.db.Write(cause(), "test.damage", func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM messages WHERE seq > 64 AND seq <= 192`)
		return err
	}))
	so, client := r.connect(token.Identity{UserID: people[0].UserID, SessionID: id.New(), DeviceID: "tablet"})
	catching := catcher{so: so, missed: &missed{known: true, from: map[string]int64{k: 0}}}
	r.must(catching.toward(cause(), endOfTime))
	so.conn.Send(okFrame("end", "c"))
	var got []int64
	for _, f := range r.frames(client, "ok") {
		if f.Op == "message" {
			got = append(got, f.Message.Seq)
		}
	}
	if len(got) != 72 || got[63] != 64 || got[64] != 193 || got[71] != 200 {
		t.Errorf("got %v, want 1 to 64 and 193 to 200", got)
	}
	client.Drop()
}
