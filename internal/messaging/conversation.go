package messaging

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/sqldb"
)

// Kinds of conversations, roles of members, and limits.
const (
	kindDirect = "direct"
	kindGroup  = "group"

	roleOwner  = "owner"
	roleMember = "member"

	maxMembers   = 10_000
	maxGroupName = 100 // runes
)

// Conversation is what the protocol calls a conversation. ReadSeq, Unread and
// LastMessage are those of whoever asks.
type Conversation struct {
	ID          string   `json:"id"`
	Kind        string   `json:"kind" enum:"direct,group"`
	Name        string   `json:"name,omitempty"`
	Members     []Member `json:"members"`
	LastSeq     int64    `json:"last_seq"`
	ReadSeq     int64    `json:"read_seq"`
	CreatedAt   string   `json:"created_at" format:"date-time"`
	Unread      *int64   `json:"unread,omitempty" doc:"Messages of others after read_seq, counted up to 1000; in lists."`
	LastMessage *Message `json:"last_message,omitempty" doc:"The newest message; in lists."`
}

// Member is one member of a conversation.
type Member struct {
	UserID string `json:"user_id"`
	Role   string `json:"role" enum:"owner,member"`
}

// Plan is a conversation that somebody wants to have.
type Plan struct {
	Kind      string   `json:"kind" enum:"direct,group"`
	Name      string   `json:"name,omitempty" doc:"1 to 100 characters; for groups."`
	MemberIDs []string `json:"member_ids" doc:"Users besides the caller: one for direct, up to 9999 for a group."`
}

func (r *room) conversation() Conversation {
	c := Conversation{ID: r.id, Kind: r.kind, Name: r.name, LastSeq: r.last(), CreatedAt: stamp(r.created), Members: make([]Member, len(r.members))}
	for i, m := range r.members {
		c.Members[i] = Member{m.user, m.role}
	}
	return c
}

// check refuses what no caller may ask for, and gives the other members, sorted.
func (p Plan) check(caller string) ([]string, error) {
	for i, m := range p.MemberIDs {
		if !id.Valid(m) {
			return nil, fault.BadID(fmt.Sprintf("member_ids[%d]", i))
		}
	}
	others := slices.Compact(slices.Sorted(slices.Values(p.MemberIDs)))
	others = slices.DeleteFunc(others, func(m string) bool { return m == caller })
	switch p.Kind {
	case kindDirect:
		if len(p.MemberIDs) != 1 || len(others) != 1 {
			return nil, fault.OnField(fault.CodeInvalid, "member_ids", "must name one other user")
		}
		if p.Name != "" {
			return nil, fault.OnField(fault.CodeInvalid, "name", "is for groups")
		}
	case kindGroup:
		if len(others) == 0 || len(others) >= maxMembers {
			return nil, fault.OnField(fault.CodeInvalid, "member_ids", "must name 1 to 9999 other users")
		}
		if err := checkName(p.Name); err != nil {
			return nil, err
		}
	default:
		return nil, fault.OnField(fault.CodeInvalid, "kind", `must be "direct" or "group"`)
	}
	return others, nil
}

func checkName(name string) error {
	n := utf8.RuneCountInString(name)
	switch {
	case n > maxGroupName:
		return fault.OnField(fault.CodeTooLong, "name", "must have at most 100 characters")
	case !strings.ContainsFunc(name, isVisible) || strings.ContainsFunc(name, isControl):
		return fault.OnField(fault.CodeInvalid, "name", "must have 1 to 100 characters, one of them visible, none of them a control")
	}
	return nil
}

// isControl finds what would break or reorder the line that a name is shown in.
func isControl(r rune) bool {
	return unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Bidi_Control, r)
}

func isVisible(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }

// idempotencyWindow is how long an Idempotency-Key is remembered.
const idempotencyWindow = 24 * time.Hour

// create makes the conversation, or finds it: a direct one that exists, or the
// one that the same request made before.
func (s *Service) create(ctx context.Context, caller string, p Plan, requestID string) (c Conversation, made bool, err error) {
	others, err := p.check(caller)
	if err != nil {
		return c, false, err
	}
	if err := s.accounts.check(ctx, others); err != nil {
		return c, false, err
	}
	n := newConversation{
		id: id.New(), plan: p, caller: caller, others: others, at: time.Now(), request: requestID,
		hash: fingerprint(append([]string{p.Kind, p.Name}, others...)...),
	}
	var found string
	err = s.db.Write(ctx, "messaging.create", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		found, made, err = s.createIn(ctx, tx, &n)
		return err
	})
	if err != nil {
		return c, false, err
	}
	c, err = s.conversation(ctx, found, caller)
	return c, made, err
}

type newConversation struct {
	no                        int64 // the position of the event that announces it
	id, caller, request, hash string
	plan                      Plan
	others                    []string
	at                        time.Time
}

func (s *Service) createIn(ctx context.Context, tx *sqldb.Tx, n *newConversation) (conversation string, made bool, err error) {
	if n.request != "" {
		before, err := n.before(ctx, tx)
		if before != "" || err != nil {
			return before, false, err
		}
	}
	var pair any
	if n.plan.Kind == kindDirect {
		a, b := n.caller, n.others[0]
		pair = min(a, b) + " " + max(a, b)
	}
	// Looked up first: a position that is taken must be used, since the hubs
	// wait for every one.
	err = tx.QueryRow(ctx, `SELECT id FROM conversations WHERE direct_pair = $1`, pair).Scan(&conversation)
	if err == nil {
		return conversation, false, n.remember(ctx, tx, conversation)
	}
	if !errors.Is(err, sqldb.ErrNoRows) {
		return "", false, err
	}
	if n.no, err = s.outbox.Take(ctx, tx, 1); err != nil {
		return "", false, err
	}
	if err := n.insert(ctx, tx, pair); err != nil {
		return "", false, err
	}
	return n.id, true, s.announce(ctx, tx, typeCreated, n.id, n.no)
}

func (n *newConversation) insert(ctx context.Context, tx *sqldb.Tx, pair any) error {
	_, err := tx.Exec(ctx, `INSERT INTO conversations (no, id, kind, name, direct_pair, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		n.no, n.id, n.plan.Kind, n.plan.Name, pair, n.caller, n.at.UnixMilli())
	if err != nil {
		return err
	}
	// The list of conversations is ordered by the last position.
	if _, err := tx.Exec(ctx, `INSERT INTO heads (no, last_seq, last_pos, members_version) VALUES ($1, 0, $2, 1)`, n.no, n.no); err != nil {
		return err
	}
	if err := n.insertMembers(ctx, tx); err != nil {
		return err
	}
	return n.remember(ctx, tx, n.id)
}

// before finds the conversation that an earlier request of this id made.
func (n *newConversation) before(ctx context.Context, tx *sqldb.Tx) (string, error) {
	if _, err := tx.Exec(ctx, `DELETE FROM idempotency WHERE user_id = $1 AND created_at < $2`, n.caller, n.at.Add(-idempotencyWindow).UnixMilli()); err != nil {
		return "", err
	}
	var hash, conversation string
	err := tx.QueryRow(ctx, `SELECT request_hash, conversation_id FROM idempotency WHERE user_id = $1 AND request_id = $2`, n.caller, n.request).Scan(&hash, &conversation)
	switch {
	case errors.Is(err, sqldb.ErrNoRows):
		return "", nil
	case err == nil && hash != n.hash:
		return "", fault.OnField(fault.CodeIdempotencyConflict, "Idempotency-Key", "was used for another request; make a fresh one")
	}
	return conversation, err
}

func (n *newConversation) remember(ctx context.Context, tx *sqldb.Tx, conversation string) error {
	if n.request == "" {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO idempotency (user_id, request_id, request_hash, conversation_id, created_at) VALUES ($1, $2, $3, $4, $5)`,
		n.caller, n.request, n.hash, conversation, n.at.UnixMilli())
	return err
}

func (n *newConversation) insertMembers(ctx context.Context, tx *sqldb.Tx) error {
	own := roleMember
	if n.plan.Kind == kindGroup {
		own = roleOwner
	}
	args := []any{n.no, n.caller, own, int64(0), int64(0)}
	for _, m := range n.others {
		args = append(args, n.no, m, roleMember, int64(0), int64(0))
	}
	return tx.Insert(ctx, "members", []string{"no", "user_id", "role", "first_seq", "read_seq"}, args)
}

// announce emits an event about a conversation, with its state in this
// transaction, at a position that was taken for it.
func (s *Service) announce(ctx context.Context, tx *sqldb.Tx, kind, conversation string, pos int64) error {
	r, err := readRoom(ctx, tx, conversation)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(r.conversation())
	if err != nil {
		return fmt.Errorf("encode conversation: %w", err)
	}
	return s.outbox.Emit(ctx, tx, bus.Envelope{Type: kind, Key: conversation, Pos: pos, Payload: payload})
}

// conversation gives a conversation as the caller sees it.
func (s *Service) conversation(ctx context.Context, conversation, caller string) (c Conversation, err error) {
	if !id.Valid(conversation) {
		return c, fault.BadID("id")
	}
	r, err := s.rooms.get(ctx, conversation)
	if err != nil {
		return c, err
	}
	if !r.has(caller) {
		return c, errNoConversation
	}
	c = r.conversation()
	err = s.db.Read(ctx, "messaging.read_mark", func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, `SELECT h.last_seq, m.read_seq FROM heads h JOIN members m ON m.no = h.no WHERE h.no = $1 AND m.user_id = $2`, r.no, caller).
			Scan(&c.LastSeq, &c.ReadSeq)
	})
	return c, err
}
