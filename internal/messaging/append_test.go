package messaging

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/test/servers"
)

// model is what the log must look like, written down in the plainest way.
type model struct {
	t       *rapid.T
	r       *rig
	people  []token.Identity // the last is a member of nothing
	rooms   []string
	members map[string]map[string]bool // room -> user
	stored  map[clientKey]row
	last    map[string]int64 // room -> last seq
	pos     int64            // the last
}

// answered is what came of one post.
type answered struct {
	order int // in which it was answered
	o     outcome
	err   error
}

// planned is one post of a batch.
type planned struct {
	who   token.Identity
	draft Draft
	stale bool // the cache let it pass under an older membership, or wrongly
}

func newModel(t *rapid.T, r *rig) *model {
	a, b, c := somebody("a1"), somebody("b1"), somebody("c1")
	a2 := a
	a2.DeviceID = "a2"
	m := &model{t: t, r: r, people: []token.Identity{a, a2, b, c, somebody("d1")}, members: map[string]map[string]bool{}, stored: map[clientKey]row{}, last: map[string]int64{}}
	for _, in := range [][]token.Identity{{a, b}, {a, c}, {a, b, c}} {
		k := r.room(in...)
		m.rooms = append(m.rooms, k)
		m.members[k] = map[string]bool{}
		for _, who := range in {
			m.members[k][who.UserID] = true
		}
	}
	m.pos = r.number("SELECT taken FROM positions")
	return m
}

func (m *model) draw() planned {
	return planned{
		who: rapid.SampledFrom(m.people).Draw(m.t, "who"),
		draft: Draft{
			ConversationID: rapid.SampledFrom(m.rooms).Draw(m.t, "room"),
			ClientMsgID:    rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(m.t, "client"),
			Body:           rapid.SampledFrom([]string{"x", "y"}).Draw(m.t, "body"),
		},
		stale: rapid.IntRange(0, 4).Draw(m.t, "stale") == 0,
	}
}

// submit hands posts to the writer while it is held up, so that they make one
// batch, and gives the answers in the order of the posts.
func (m *model) submit(posts []planned) []answered {
	entered, release := make(chan struct{}), make(chan struct{})
	var held sync.WaitGroup
	held.Go(func() {
		_ = m.r.s.db.Write(cause(), "test.hold", func(context.Context, *sqldb.Tx) error {
			close(entered)
			<-release
			return nil
		})
	})
	<-entered
	got := make([]answered, len(posts))
	var all sync.WaitGroup
	order := 0 // moved on the writer's goroutine alone
	all.Add(len(posts))
	for i, p := range posts {
		r, err := m.r.s.rooms.get(cause(), p.draft.ConversationID)
		m.r.must(err)
		if p.stale {
			r = &room{no: r.no, id: r.id, version: r.version - 1}
		}
		m.r.s.appends.Submit(cause(), newPost(cause(), r, by(p.who), p.draft, ""), func(o outcome, err error) {
			order++
			got[i] = answered{order, o, err}
			all.Done()
		})
	}
	close(release)
	all.Wait()
	held.Wait()
	return got
}

// want judges one answer, and moves the model on.
func (m *model) want(i int, p planned, got answered) {
	m.t.Helper()
	if got.order != i+1 {
		m.t.Fatalf("post %d was answered as number %d", i, got.order)
	}
	key := clientKey{p.draft.ClientMsgID, p.who.UserID, p.who.DeviceID}
	old, known := m.stored[key]
	switch {
	case p.stale && !m.members[p.draft.ConversationID][p.who.UserID]:
		m.wantCode(i, got, fault.CodeNotFound)
	case known && (old.conversation != p.draft.ConversationID || old.body != p.draft.Body):
		m.wantCode(i, got, fault.CodeIdempotencyConflict)
	case got.err != nil:
		m.t.Fatalf("post %d %+v: %v", i, p, got.err)
	case known:
		if r := got.o.row; !got.o.repeat || r.pos != old.pos || r.seq != old.seq || r.body != old.body || r.correlation != old.correlation || r.created.UnixMilli() != old.created.UnixMilli() {
			m.t.Fatalf("post %d repeats %+v and got %+v", i, old, got.o)
		}
	default:
		m.last[p.draft.ConversationID]++
		m.pos++
		r := got.o.row
		if got.o.repeat || r.seq != m.last[p.draft.ConversationID] || r.pos != m.pos || r.conversation != p.draft.ConversationID || r.body != p.draft.Body {
			m.t.Fatalf("post %d got %+v, want seq %d and pos %d", i, got.o, m.last[p.draft.ConversationID], m.pos)
		}
		m.stored[key] = *r
	}
}

func (m *model) wantCode(i int, got answered, c fault.Code) {
	m.t.Helper()
	if fault.CodeOf(got.err) != c {
		m.t.Fatalf("post %d: %+v, want %v", i, got, c)
	}
}

// wantLog compares what is stored with the model.
func (m *model) wantLog() {
	m.t.Helper()
	total := int64(0)
	for i, k := range m.rooms {
		c, err := m.r.s.conversation(cause(), k, m.people[0].UserID)
		m.r.must(err)
		if c.LastSeq != m.last[k] {
			m.t.Fatalf("room %d ends at %d, want %d", i, c.LastSeq, m.last[k])
		}
		page, _, err := m.r.s.history(cause(), m.people[0].UserID, k, Span{After: 0, Before: -1, Limit: 10_000})
		m.r.must(err)
		for n, x := range page {
			if x.Seq != int64(n+1) {
				m.t.Fatalf("room %d has seq %d at place %d", i, x.Seq, n+1)
			}
		}
		total += int64(len(page))
	}
	if n := m.r.number("SELECT COUNT(*) FROM messages"); n != total || n != int64(len(m.stored)) {
		m.t.Fatalf("%d rows, %d in the rooms, %d in the model", n, total, len(m.stored))
	}
	if n := m.r.number("SELECT COALESCE(MAX(pos) - MIN(pos) + 1, 0) FROM messages"); n != total {
		m.t.Fatalf("%d positions for %d messages", n, total)
	}
	if taken := m.r.number("SELECT taken FROM positions"); taken != m.pos {
		m.t.Fatalf("%d positions taken, want %d", taken, m.pos)
	}
}

// TestAppendAgainstTheModel: whatever comes together in a batch, sequences and
// positions are dense and in the order of submission, a repeat gets the first
// answer and leaves nothing, and a refusal touches nobody else.
func TestAppendAgainstTheModel(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		base, n := t.TempDir(), 0
		rapid.Check(t, func(t *rapid.T) {
			n++
			againstTheModel(t, newRig(t, folder(t, base, n)))
		})
	})
	t.Run("postgres", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) { againstTheModel(rt, rigAt(rt, servers.Postgres(t))) })
	})
}

func againstTheModel(t *rapid.T, r *rig) {
	defer r.stop()
	m := newModel(t, r)
	for range rapid.IntRange(1, 4).Draw(t, "batches") {
		if rapid.Bool().Draw(t, "hopeful") {
			r.s.lookUntil = time.Time{} // as if there had been no repeat for long
		}
		var posts []planned
		for range rapid.IntRange(1, 30).Draw(t, "posts") {
			p := m.draw()
			if !m.members[p.draft.ConversationID][p.who.UserID] {
				p.stale = true // with the present membership it would not come this far
			}
			posts = append(posts, p)
		}
		for i, got := range m.submit(posts) {
			m.want(i, posts[i], got)
		}
	}
	m.wantLog()
}

// TestAPostToAConversationThatIsGone is refused, not an engine error.
func TestAPostToAConversationThatIsGone(t *testing.T) {
	r := single(t)
	a, b := somebody("a"), somebody("b")
	k := r.room(a, b)
	o, err := r.s.appends.Do(cause(), newPost(cause(), &room{no: 4711, id: "gone", version: 1}, by(a), Draft{"gone", "1", "x"}, ""))
	if fault.CodeOf(err) != fault.CodeNotFound {
		t.Errorf("%+v, %v", o, err)
	}
	if o := r.post(a, k, "x"); o.row.seq != 1 {
		t.Errorf("after it: %+v", o)
	}
}

func TestDraftsAreChecked(t *testing.T) {
	r := single(t)
	a, b, eve := somebody("a"), somebody("b"), somebody("e")
	k := r.room(a, b)
	for name, c := range map[string]struct {
		who   token.Identity
		draft Draft
		want  fault.Code
	}{
		"no identifier":     {a, Draft{"x", "1", "b"}, fault.CodeBadID},
		"nothing there":     {a, Draft{someID, "1", "b"}, fault.CodeNotFound},
		"a stranger":        {eve, Draft{k, "1", "b"}, fault.CodeNotFound},
		"no client id":      {a, Draft{k, "", "b"}, fault.CodeInvalid},
		"odd client id":     {a, Draft{k, "a/b", "b"}, fault.CodeInvalid},
		"long client id":    {a, Draft{k, string(make([]byte, 65)), "b"}, fault.CodeTooLong},
		"no text":           {a, Draft{k, "1", ""}, fault.CodeInvalid},
		"long text":         {a, Draft{k, "1", string(make([]byte, maxBody+1))}, fault.CodeTooLong},
		"U+0000":            {a, Draft{k, "1", "a\x00"}, fault.CodeBadRequest},
		"text no UTF-8":     {a, Draft{k, "1", "\xff"}, fault.CodeBadRequest},
		"as long as can be": {a, Draft{k, "2", string(append(make([]byte, 0, maxBody), []byte(fmt.Sprintf("%0*d", maxBody, 0))...))}, 0},
	} {
		_, err := r.s.sendAndWait(cause(), c.who, c.draft)
		if c.want == 0 && err != nil || c.want != 0 && fault.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	l := r.s.Ledger()
	if l.Accepted != 11 || l.Rejected != 10 || l.Committed != 1 || l.Unknown != 0 {
		t.Errorf("ledger %+v", l)
	}
}

// TestASendWhoseCallerLeavesIsStillSettled: the ledger closes although nobody
// waits for the answer.
func TestASendWhoseCallerLeavesIsStillSettled(t *testing.T) {
	r := single(t)
	a, b := somebody("a"), somebody("b")
	k := r.room(a, b)
	r.post(a, k, "x") // the room is in memory from here on
	entered, release := make(chan struct{}), make(chan struct{})
	go func() {
		_ = r.s.db.Write(cause(), "test.hold", func(context.Context, *sqldb.Tx) error { close(entered); <-release; return nil })
	}()
	<-entered
	ctx, cancel := context.WithCancel(cause())
	cancel()
	_, err := r.s.sendAndWait(ctx, a, Draft{k, "1", "x"})
	if c := fault.CodeOf(err); !indeterminate(c) {
		t.Errorf("whoever leaves is told %v, which says something about the outcome", c)
	}
	close(release)
	ctx, cancel = context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.s.settled(ctx); err != nil {
		t.Fatal(err)
	}
	if l := r.s.Ledger(); l.Accepted != l.Committed+l.Rejected+l.Unknown || l.Accepted != 2 {
		t.Errorf("ledger %+v", l)
	}
}

// folder is a new one for a case.
func folder(t tester, base string, n int) string {
	dir := fmt.Sprintf("%s/%d", base, n)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
