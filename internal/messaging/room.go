package messaging

import (
	"context"
	"errors"
	"sort"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// room is what a node keeps in memory of a conversation while it is in use:
// who is in it, and its last few messages for receipts and latencies.
type room struct {
	no                        int64 // in the tables
	id, kind, name, createdBy string
	created                   time.Time
	version                   int64
	members                   []member // in the order of user ids

	mu      sync.Mutex // guards what follows
	lastSeq int64
	recent  []trace // the last messages, a ring that ascends by seq
	next    int     // where the ring goes on, and so begins
}

type member struct {
	user, role string
	firstSeq   int64
}

// trace is what is remembered of a message that was handed to the sockets.
type trace struct {
	seq      int64
	sender   string
	accepted time.Time
}

// remembered is how many messages a room remembers; older ones are read from
// the log when a receipt needs their sender.
const remembered = 1024

// find gives a member as it stands in the room. user does not escape, so that one who
// has only bytes needs no memory for it.
func (r *room) find(user string) (member, bool) {
	i := sort.Search(len(r.members), func(i int) bool { return r.members[i].user >= user })
	if i == len(r.members) || r.members[i].user != user {
		return member{}, false
	}
	return r.members[i], true
}

func (r *room) has(user string) bool {
	_, ok := r.find(user)
	return ok
}

// applied notes a message that is about to be handed to the sockets.
func (r *room) applied(t trace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastSeq = max(r.lastSeq, t.seq)
	if len(r.recent) < remembered {
		r.recent = append(r.recent, t)
		return
	}
	r.recent[r.next] = t
	r.next = (r.next + 1) % remembered
}

// covered calls fn for the remembered messages with after < seq <= upTo, and says
// whether these are all of that range. fn must not use the room.
func (r *room) covered(after, upTo int64, fn func(*trace)) (whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.recent)
	nth := func(i int) *trace { return &r.recent[(r.next+i)%n] } // from the oldest on
	from := sort.Search(n, func(i int) bool { return nth(i).seq > after })
	to := from + sort.Search(n-from, func(i int) bool { return nth(from+i).seq > upTo })
	for i := from; i < to; i++ {
		fn(nth(i))
	}
	return int64(to-from) == upTo-after
}

func (r *room) last() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastSeq
}

// rooms is the bounded cache of rooms.
type rooms struct {
	obs   *obs.Obs
	db    *sqldb.DB
	cache *otter.Cache[string, *room]
}

// maxRooms bounds the memory of the cache, weighed by members.
const maxRooms = 200_000

func newRooms(o *obs.Obs, db *sqldb.DB) (*rooms, error) {
	cache, err := otter.New(&otter.Options[string, *room]{
		MaximumWeight: maxRooms,
		Weigher:       func(_ string, r *room) uint32 { return uint32(2 + len(r.members)) },
	})
	return &rooms{o, db, cache}, err
}

// known gives the room of a conversation if it is in memory.
func (rs *rooms) known(conversation string) (*room, bool) {
	r, ok := rs.cache.GetIfPresent(conversation)
	if ok {
		rs.obs.Metrics.CacheRequests.Inc(obs.CacheConversations, obs.CacheHit)
	}
	return r, ok
}

// get finds the room of a conversation, from memory if it is there.
func (rs *rooms) get(ctx context.Context, conversation string) (*room, error) {
	if r, ok := rs.known(conversation); ok {
		return r, nil
	}
	rs.obs.Metrics.CacheRequests.Inc(obs.CacheConversations, obs.CacheMiss)
	r, err := rs.cache.Get(ctx, conversation, otter.LoaderFunc[string, *room](rs.load))
	if errors.Is(err, otter.ErrNotFound) {
		return nil, errNoConversation
	}
	return r, err
}

func (rs *rooms) load(ctx context.Context, conversation string) (*room, error) {
	var r *room
	err := rs.db.Read(ctx, "messaging.room", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		r, err = readRoom(ctx, tx, conversation)
		return err
	})
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, otter.ErrNotFound
	}
	return r, err
}

func readRoom(ctx context.Context, tx *sqldb.Tx, conversation string) (*room, error) {
	r := &room{id: conversation}
	var created int64
	err := tx.QueryRow(ctx, `SELECT c.no, c.kind, c.name, c.created_by, c.created_at, h.last_seq, h.members_version
		FROM conversations c JOIN heads h ON h.no = c.no WHERE c.id = $1`, conversation).
		Scan(&r.no, &r.kind, &r.name, &r.createdBy, &created, &r.lastSeq, &r.version)
	if err != nil {
		return nil, err
	}
	r.created = time.UnixMilli(created)
	rows, err := tx.Query(ctx, `SELECT user_id, role, first_seq FROM members WHERE no = $1 ORDER BY user_id`, r.no)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m member
		if err := rows.Scan(&m.user, &m.role, &m.firstSeq); err != nil {
			return nil, err
		}
		r.members = append(r.members, m)
	}
	return r, rows.Err()
}
