package messaging

import (
	"context"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/messaging/inbound"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// markRead moves a user's read mark; it never goes back, and a sequence that
// does not exist is refused.
func (s *Service) markRead(ctx context.Context, user, conversation string, seq int64) error {
	r, err := s.visible(ctx, user, conversation)
	if err != nil {
		return err
	}
	var moved int64
	err = s.db.Write(ctx, "messaging.read", func(ctx context.Context, tx *sqldb.Tx) error {
		var last int64
		if err := tx.QueryRow(ctx, selectLastSeq, r.no).Scan(&last); err != nil {
			return err
		}
		if seq < 0 || seq > last {
			return fault.OnField(fault.CodeInvalid, "seq", "must be a sequence number of the conversation")
		}
		moved, err = tx.Exec(ctx, `UPDATE members SET read_seq = $1 WHERE no = $2 AND user_id = $3 AND read_seq < $1`, seq, r.no, user)
		return err
	})
	if err != nil || moved == 0 {
		return err
	}
	b := receiptHead(obs.CorrelationFrom(ctx), "read", conversation, seq)
	b = append(appendPlain(append(b, `,"user_id":`...), user), '}')
	h := hint{Frame: b}
	if len(r.members) > largeGroup {
		h.To = []string{user} // the user's own devices; the others can ask over REST
	}
	s.publish(ctx, conversation, h)
	return nil
}

func (so *socket) read(ctx context.Context, in *inbound.Frame) error {
	if err := so.s.markRead(ctx, so.who.UserID, in.ConversationID, in.Seq); err != nil {
		return err
	}
	so.conn.Send(okFrame(in.ID, in.CID))
	return nil
}

// typing tells the other members; it is the first thing to be dropped.
func (so *socket) typing(ctx context.Context, in *inbound.Frame) error {
	if _, err := so.s.visible(ctx, so.who.UserID, in.ConversationID); err != nil {
		return err
	}
	b := appendAnswer(make([]byte, 0, 160), "typing", "", in.CID)
	b = appendPlain(append(b, `,"conversation_id":`...), in.ConversationID)
	b = appendPlain(append(b, `,"user_id":`...), so.who.UserID)
	b = append(b, `,"on":`...)
	if in.On {
		b = append(b, "true}"...)
	} else {
		b = append(b, "false}"...)
	}
	so.s.publish(ctx, in.ConversationID, hint{Except: so.who.UserID, Ephemeral: true, Frame: b})
	return nil
}
