package messaging

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/ws"
	"github.com/nova-chat/nova/test/servers"
)

// someID is an identifier of nothing.
const someID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

// TestMain gives the property tests fewer cases than rapid's 100, as each opens
// a database, and no files of failed ones. The command line may ask for others.
func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.checks": "20", "rapid.nofailfile": "true"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			_ = f.Value.Set(value)
		}
	}
	goleak.VerifyTestMain(m, servers.Running())
}

const patience = 20 * time.Second

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// rig is a service on a database of its own. Nothing runs by itself: what is
// committed reaches the hub when the test hands it over, so that every
// interleaving can be told exactly.
type rig struct {
	tester
	s      *Service
	group  *run.Group
	fanout *published
	http   *httptest.Server
	origin string // of messages with the client_msg_id "mine", as the live relay knows it
}

// published is a bus that keeps what it is given: with no relay these are hints.
type published struct {
	mu     sync.Mutex
	hints  []hint
	opened []opened
	away   bool
}

func (p *published) Publish(_ context.Context, batch []bus.Envelope) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		return fault.New(fault.CodeUnavailable, "")
	}
	for i := range batch {
		if batch[i].Type == typeOpened {
			var o opened
			if err := json.Unmarshal(batch[i].Payload, &o); err != nil {
				return err
			}
			p.opened = append(p.opened, o)
			continue
		}
		var h hint
		if err := json.Unmarshal(batch[i].Payload, &h); err != nil {
			return err
		}
		p.hints = append(p.hints, h)
	}
	return nil
}

func (p *published) Subscribe(string, func(context.Context, []bus.Envelope)) func() { return func() {} }

// take gives what was published since the last take.
func (p *published) take() []hint {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.hints
	p.hints = nil
	return list
}

var plenty = limit.Rate{PerSecond: 1e6, Burst: 1e6}

// newRig is a rig on SQLite.
func newRig(t tester, dir string) *rig {
	t.Helper()
	return rigAt(t, "sqlite:"+filepath.Join(dir, "nova.db"))
}

// rigAt is a rig on any database. before sees it without the tables of messaging.
func rigAt(t tester, url string, before ...func(*sqldb.DB)) *rig {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{tester: t, group: run.New(o), fanout: &published{}}
	ctx := context.Background()
	db, err := sqldb.Open(ctx, o, r.group, sqldb.Config{Service: obs.Messaging, URL: url})
	if err != nil {
		t.Fatal(err)
	}
	r.s, err = New(Deps{
		Obs: o, Group: r.group, DB: db, Fanout: r.fanout, Events: bus.NewMemory(o, r.group).Events(),
		Revocations: token.NewRevocations(), Verifier: token.NewVerifier(o, token.NewKeys(), token.NewRevocations()),
		Limits: Limits{MessagesPerUser: plenty, MessagesPerConversation: plenty, FramesPerSocket: plenty, SocketsPerUser: 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.must(r.s.outbox.Migrate(ctx))
	for _, fn := range before {
		fn(db)
	}
	r.must(db.Migrate(ctx, "messaging", Migrations()))
	st, err := loadIdentity(ctx, db)
	r.must(err)
	r.s.epoch = st.epoch
	r.s.ids, err = newIDs(st.mask)
	r.must(err)
	r.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.s.upgrade(w, req) }))
	return r
}

// single is newRig for a test with one rig.
func single(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, t.TempDir())
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	r.Helper()
	if rep := r.group.Stop(context.Background()); rep.Err() != nil || rep.GoroutinesLeft != 0 {
		r.Errorf("stop: %v, left %v", rep.Err(), rep.Left)
	}
	r.http.Close()
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func cause() context.Context {
	return obs.WithCorrelation(context.Background(), obs.NewCorrelation())
}

// somebody is a user with a session on a device.
func somebody(device string) token.Identity {
	return token.Identity{UserID: id.New(), SessionID: id.New(), DeviceID: device}
}

// by is somebody as the author of a message.
func by(who token.Identity) author { return author{who, deviceHash(who.UserID, who.DeviceID)} }

// room makes a conversation: direct of two, a group of more.
func (r *rig) room(people ...token.Identity) string {
	r.Helper()
	p := Plan{Kind: kindDirect}
	if len(people) > 2 {
		p = Plan{Kind: kindGroup, Name: "G"}
	}
	for _, who := range people {
		r.s.accounts.cache.Set(who.UserID, struct{}{})
		if who.UserID != people[0].UserID {
			p.MemberIDs = append(p.MemberIDs, who.UserID)
		}
	}
	c, _, err := r.s.create(cause(), people[0].UserID, p, "")
	r.must(err)
	return c.ID
}

// post commits one message.
func (r *rig) post(who token.Identity, conversation, text string) outcome {
	r.Helper()
	o, err := r.s.sendAndWait(cause(), who, Draft{conversation, id.New(), text})
	r.must(err)
	return o
}

// log is all that was committed after a position, as the relay would give it.
func (r *rig) log(after int64) (list []bus.Envelope) {
	r.Helper()
	r.must(r.s.db.Read(cause(), "test.log", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err = r.s.readLog(ctx, tx, after, endOfTime, 10_000)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT pos, id, type, event_key, correlation_id, payload FROM outbox WHERE pos > $1`, after)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e bus.Envelope
			var correlation string
			if err := rows.Scan(&e.Pos, &e.ID, &e.Type, &e.Key, &correlation, &e.Payload); err != nil {
				return err
			}
			e.Correlation = obs.Correlation(correlation)
			list = append(list, e)
		}
		return rows.Err()
	}))
	for i := range list {
		if strings.Contains(string(list[i].Payload), `"client_msg_id":"mine"`) {
			list[i].Origin = r.origin
		}
	}
	slices.SortFunc(list, func(a, b bus.Envelope) int { return int(a.Pos - b.Pos) })
	return list
}

// apply hands the hub the next n positions; fewer if there are no more.
func (r *rig) apply(n int) {
	r.Helper()
	list := r.log(r.s.hub.position())
	r.s.hub.apply(cause(), list[:min(n, len(list))])
}

func (r *rig) number(query string, args ...any) (v int64) {
	r.Helper()
	r.must(r.s.db.Read(cause(), "test.number", func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(&v)
	}))
	return v
}

// connect opens a socket that has not said hello, and gives both its ends.
func (r *rig) connect(who token.Identity) (*socket, *ws.Client) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(r.http.URL, "http")+"/api/v1/ws", ws.DialOptions{})
	r.must(err)
	r.must(c.SetReadDeadline(time.Now().Add(patience)))
	for ctx.Err() == nil { // it is there a moment after the answer to the upgrade
		if so := r.opened(); so != nil {
			so.who = who
			return so, c
		}
		r.must(pause(ctx, time.Millisecond))
	}
	r.Fatal("the socket is not among those that open")
	return nil, nil
}

// opened takes out the one socket that has not said hello.
func (r *rig) opened() *socket {
	o := &r.s.openings
	o.mu.Lock()
	defer o.mu.Unlock()
	for so := range o.list {
		delete(o.list, so)
		return so
	}
	return nil
}

// frame is an event as a client reads it.
type frame struct {
	Op      string `json:"op"`
	CID     string `json:"cid"`
	Message struct {
		ConversationID string `json:"conversation_id"`
		Seq            int64  `json:"seq"`
	} `json:"message"`
}

// frames reads until the frame with that op, which is the last of the list.
func (r *rig) frames(c *ws.Client, last string) (list []frame) {
	r.Helper()
	for {
		b, err := c.Read()
		if err != nil {
			r.Fatalf("waiting for %s after %d frames: %v", last, len(list), err)
		}
		var f frame
		r.must(json.Unmarshal(b, &f))
		if list = append(list, f); f.Op == last {
			return list
		}
	}
}
