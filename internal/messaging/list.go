package messaging

import (
	"context"
	"errors"

	"github.com/nova-chat/nova/internal/sqldb"
)

// conversationsList names the list of conversations in cursors.
const conversationsList = "conversations"

const (
	maxUnread  = 1000           // where counting unread messages stops
	lookUnread = 20 * maxUnread // how many messages are looked at, since one's own do not count
)

// listed is a conversation of the caller as the list reads it.
type listed struct {
	stand
	readSeq int64
	last    *row
	unread  int64
}

// list gives the caller's conversations, the one with the newest message first,
// those without messages last; next is "" at the end.
func (s *Service) list(ctx context.Context, caller, cursor string, limit int) (items []Conversation, next string, err error) {
	at := endOfTime
	if cursor != "" {
		if at, err = s.ids.parseCursor(caller, conversationsList, cursor); err != nil {
			return nil, "", err
		}
	}
	var page []listed
	err = s.db.Read(ctx, "messaging.list", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		page, err = readListed(ctx, tx, caller, at, limit+1)
		for i := 0; err == nil && i < len(page); i++ {
			err = page[i].complete(ctx, tx, caller)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(page) > limit {
		page = page[:limit]
		next = s.ids.cursor(caller, conversationsList, page[limit-1].lastPos)
	}
	for i := range page {
		c, err := s.listedConversation(ctx, &page[i])
		if err != nil {
			return nil, "", err
		}
		items = append(items, c)
	}
	return items, next, nil
}

func (s *Service) listedConversation(ctx context.Context, l *listed) (c Conversation, err error) {
	r, err := s.rooms.get(ctx, l.conversation)
	if err != nil {
		return c, err
	}
	c = r.conversation()
	c.LastSeq, c.ReadSeq, c.Unread = l.lastSeq, l.readSeq, &l.unread
	if l.last != nil {
		m := s.message(l.last)
		c.LastMessage = &m
	}
	return c, nil
}

// readListed pages by last_pos, which is unique: a new conversation takes the
// position of the event that announces it.
func readListed(ctx context.Context, tx *sqldb.Tx, caller string, before int64, limit int) ([]listed, error) {
	rows, err := tx.Query(ctx, `SELECT c.no, c.id, m.first_seq, h.last_seq, h.last_pos, m.read_seq
		FROM members m JOIN heads h ON h.no = m.no JOIN conversations c ON c.no = m.no
		WHERE m.user_id = $1 AND h.last_pos < $2 ORDER BY h.last_pos DESC LIMIT $3`, caller, before, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []listed
	for rows.Next() {
		var l listed
		if err := rows.Scan(&l.no, &l.conversation, &l.firstSeq, &l.lastSeq, &l.lastPos, &l.readSeq); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

// complete reads the newest message and counts what is unread.
func (l *listed) complete(ctx context.Context, tx *sqldb.Tx, caller string) error {
	if l.lastSeq == 0 {
		return nil
	}
	m, err := scanMessage(tx.QueryRow(ctx, selectMessage+`WHERE m.pos = $1`, l.lastPos))
	switch {
	case err == nil:
		l.last = &m
	case !errors.Is(err, sqldb.ErrNoRows):
		return err
	}
	after := max(l.readSeq, l.firstSeq)
	if after == l.lastSeq {
		return nil
	}
	l.unread, err = countUnread(ctx, tx, l.no, caller, max(after, l.lastSeq-lookUnread), maxUnread)
	return err
}
