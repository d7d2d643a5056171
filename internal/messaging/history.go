package messaging

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/sqldb"
)

// Span is the part of a conversation's history that is asked for.
type Span struct {
	After  int64  // exclusive; ascending; negative: not given
	Before int64  // exclusive; descending, as is neither; negative: not given
	Cursor string // goes on where a page ended, in place of the two
	Limit  int
}

// history gives a page of a conversation and the cursor of the next, "" at the end.
func (s *Service) history(ctx context.Context, caller, conversation string, span Span) (page []Message, next string, err error) {
	r, err := s.visible(ctx, caller, conversation)
	if err != nil {
		return nil, "", err
	}
	m, _ := r.find(caller)
	at, ascending, err := s.spanStart(caller, conversation, span)
	if err != nil {
		return nil, "", err
	}
	var rows []row
	err = s.db.Read(ctx, "messaging.history", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if ascending {
			after := max(at, m.firstSeq)
			rows, err = readStretch(ctx, tx, r.no, after, after+int64(span.Limit)+1)
			return err
		}
		var last int64
		if err := tx.QueryRow(ctx, selectLastSeq, r.no).Scan(&last); err != nil {
			return err
		}
		upTo := min(at-1, last)
		rows, err = readStretch(ctx, tx, r.no, max(m.firstSeq, upTo-int64(span.Limit)-1), upTo)
		slices.Reverse(rows)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(rows) > span.Limit {
		rows = rows[:span.Limit]
		next = s.ids.cursor(caller, historyList(conversation, ascending), rows[len(rows)-1].seq)
	}
	return s.messages(rows), next, nil
}

// visible gives the room of a conversation that the caller may see.
func (s *Service) visible(ctx context.Context, caller, conversation string) (*room, error) {
	if !id.Valid(conversation) {
		return nil, fault.BadID("id")
	}
	r, err := s.rooms.get(ctx, conversation)
	if err != nil {
		return nil, err
	}
	if !r.has(caller) {
		return nil, errNoConversation
	}
	return r, nil
}

func historyList(conversation string, ascending bool) string {
	if ascending {
		return "up " + conversation
	}
	return "down " + conversation
}

const endOfTime = int64(1) << 62

func (s *Service) spanStart(caller, conversation string, span Span) (at int64, ascending bool, err error) {
	switch {
	case span.Cursor != "":
		if at, err := s.ids.parseCursor(caller, historyList(conversation, true), span.Cursor); err == nil {
			return at, true, nil
		}
		at, err = s.ids.parseCursor(caller, historyList(conversation, false), span.Cursor)
		return at, false, err
	case span.After >= 0:
		return span.After, true, nil
	case span.Before >= 0:
		return span.Before, false, nil
	}
	return endOfTime, false, nil
}

func (s *Service) messages(rows []row) []Message {
	out := make([]Message, len(rows))
	for i := range rows {
		out[i] = s.message(&rows[i])
	}
	return out
}

// byID finds one message that the caller may see.
func (s *Service) byID(ctx context.Context, caller, messageID string) (m Message, err error) {
	if !id.Valid(messageID) {
		return m, fault.BadID("id")
	}
	pos, created, ok := s.ids.pos(messageID)
	if !ok {
		return m, errNoMessage
	}
	var rows []row
	err = s.db.Read(ctx, "messaging.message", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		rows, err = readMessages(ctx, tx, `WHERE m.pos = $1`, pos)
		return err
	})
	if err != nil {
		return m, err
	}
	if len(rows) == 0 || rows[0].created.UnixMilli() != created.UnixMilli() {
		return m, errNoMessage
	}
	r, err := s.visible(ctx, caller, rows[0].conversation)
	if errors.Is(err, errNoConversation) {
		return m, errNoMessage
	}
	if err != nil {
		return m, err
	}
	if mine, _ := r.find(caller); rows[0].seq <= mine.firstSeq {
		return m, errNoMessage
	}
	return s.message(&rows[0]), nil
}

// feedList names the sync feed in cursors.
const feedList = "feed"

// feed gives what came after the cursor over all conversations of the caller,
// or the newest messages without one, in the order in which they were
// committed; next goes on from there, now or later.
func (s *Service) feed(ctx context.Context, caller, cursor string, limit int) (page []Message, next string, more bool, err error) {
	after := int64(-1)
	if cursor != "" {
		if after, err = s.ids.parseCursor(caller, feedList, cursor); err != nil {
			return nil, "", false, err
		}
	}
	var rows []row
	end := max(after, 0)
	err = s.db.Read(ctx, "messaging.feed", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if after < 0 {
			// What is committed now is the end, even where nothing of it is the caller's.
			if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(pos), 0) FROM messages`).Scan(&end); err != nil {
				return err
			}
			rows, err = newestOf(ctx, tx, caller, limit)
			return err
		}
		rows, err = sinceOf(ctx, tx, caller, after, limit+1)
		return err
	})
	if err != nil {
		return nil, "", false, err
	}
	if after >= 0 {
		if more = len(rows) > limit; more {
			rows = rows[:limit]
		}
		if len(rows) > 0 {
			end = rows[len(rows)-1].pos
		}
	}
	return s.messages(rows), s.ids.cursor(caller, feedList, end), more, nil
}

// stand is where a conversation of a user stands.
type stand struct {
	no                         int64
	conversation               string
	firstSeq, lastSeq, lastPos int64
}

// readStands lists the user's conversations with messages after a position.
func readStands(ctx context.Context, tx *sqldb.Tx, user string, after int64) ([]stand, error) {
	rows, err := tx.Query(ctx, `SELECT c.no, c.id, m.first_seq, h.last_seq, h.last_pos
		FROM members m JOIN heads h ON h.no = m.no JOIN conversations c ON c.no = m.no WHERE m.user_id = $1 AND h.last_pos > $2`, user, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []stand
	for rows.Next() {
		var st stand
		if err := rows.Scan(&st.no, &st.conversation, &st.firstSeq, &st.lastSeq, &st.lastPos); err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, rows.Err()
}

// sinceOf reads the caller's messages after a position, oldest first.
func sinceOf(ctx context.Context, tx *sqldb.Tx, caller string, after int64, limit int) ([]row, error) {
	stands, err := readStands(ctx, tx, caller, after)
	if err != nil {
		return nil, err
	}
	var all []row
	for _, st := range stands {
		seq, err := seqAt(ctx, tx, st, after)
		if err != nil {
			return nil, err
		}
		rows, err := readStretch(ctx, tx, st.no, seq, min(seq+int64(limit), st.lastSeq))
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	slices.SortFunc(all, func(a, b row) int { return cmp.Compare(a.pos, b.pos) })
	return all[:min(len(all), limit)], nil
}

// newestOf reads the caller's newest messages, oldest first.
func newestOf(ctx context.Context, tx *sqldb.Tx, caller string, limit int) ([]row, error) {
	stands, err := readStands(ctx, tx, caller, 0)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(stands, func(a, b stand) int { return cmp.Compare(b.lastPos, a.lastPos) })
	var all []row
	for _, st := range stands {
		if len(all) >= limit && st.lastPos < all[limit-1].pos {
			break // all that follow are older still
		}
		rows, err := readStretch(ctx, tx, st.no, max(st.firstSeq, st.lastSeq-int64(limit)), st.lastSeq)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
		slices.SortFunc(all, func(a, b row) int { return cmp.Compare(b.pos, a.pos) })
		all = all[:min(len(all), limit)]
	}
	slices.Reverse(all)
	return all, nil
}
