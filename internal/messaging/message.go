package messaging

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
)

// Limits of a message.
const (
	maxBody        = 16 << 10 // bytes
	maxClientMsgID = 64       // bytes
)

// Message is what the protocol calls a message, field by field.
type Message struct {
	ID             string `json:"id" doc:"Opaque, time-ordered."`
	ConversationID string `json:"conversation_id"`
	Seq            int64  `json:"seq" doc:"1, 2, 3, ... within the conversation, without holes."`
	SenderID       string `json:"sender_id"`
	DeviceID       string `json:"device_id"`
	ClientMsgID    string `json:"client_msg_id"`
	Body           string `json:"body"`
	Version        int    `json:"version"`
	CreatedAt      string `json:"created_at" format:"date-time"`
}

// row is a message as it is stored.
type row struct {
	pos          int64
	no           int64  // of the conversation, in the tables
	conversation string // its identifier
	seq          int64
	sender       string
	device       string
	clientMsgID  string
	body         string
	correlation  obs.Correlation
	id           string    // not stored; of a message that this process has just committed
	trace        obs.Trace // not stored
	created      time.Time
}

// messageID is the identifier that a stored message goes by.
func (s *Service) messageID(r *row) string {
	if r.id != "" {
		return r.id
	}
	return s.ids.id(r.pos, r.created)
}

func (s *Service) message(r *row) Message {
	return Message{
		ID: s.messageID(r), ConversationID: r.conversation, Seq: r.seq, SenderID: r.sender,
		DeviceID: r.device, ClientMsgID: r.clientMsgID, Body: r.body, Version: 1, CreatedAt: stamp(r.created),
	}
}

// stamp writes a time as the protocol does.
func stamp(t time.Time) string { return string(appendStamp(nil, t)) }

// appendStamp is stamp without the allocation, and without reading the layout
// anew for each of the two times that a message carries.
func appendStamp(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(appendTwo(appendTwo(b, year/100), year%100), '-')
	b = append(appendTwo(b, int(month)), '-')
	b = append(appendTwo(b, day), 'T')
	b = append(appendTwo(b, hour), ':')
	b = append(appendTwo(b, minute), ':')
	b = append(appendTwo(b, second), '.')
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(appendTwo(append(b, byte('0'+ms/100)), ms%100), 'Z')
}

func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// Draft is a message that somebody wants to send.
type Draft struct {
	ConversationID string
	ClientMsgID    string
	Body           string
}

// check refuses what may not be sent by anybody.
func (d Draft) check() error {
	if !id.Valid(d.ConversationID) {
		return fault.BadID("conversation_id")
	}
	if err := checkClientMsgID(d.ClientMsgID); err != nil {
		return err
	}
	switch {
	case d.Body == "":
		return fault.OnField(fault.CodeInvalid, "body", "must not be empty")
	case len(d.Body) > maxBody:
		return fault.OnField(fault.CodeTooLong, "body", "must have at most 16384 bytes")
	case !utf8.ValidString(d.Body) || strings.IndexByte(d.Body, 0) >= 0:
		return fault.OnField(fault.CodeBadRequest, "body", "must be UTF-8 without U+0000")
	}
	return nil
}

func checkClientMsgID(s string) error {
	const want = "must have 1 to 64 characters of A-Z a-z 0-9 . _ -"
	if len(s) > maxClientMsgID {
		return fault.OnField(fault.CodeTooLong, "client_msg_id", want)
	}
	if _, ok := obs.ParseCorrelation(s); !ok { // the same alphabet and length
		return fault.OnField(fault.CodeInvalid, "client_msg_id", want)
	}
	return nil
}

// outcome is how a send ended: the stored message, and whether it was there before.
type outcome struct {
	row    *row
	repeat bool
}

// send accepts a draft and calls done once, with the committed message or with
// the reason why there is none. origin is the socket that sent it, if any. done
// runs on the writer's goroutine and must not block.
func (s *Service) send(ctx context.Context, who author, d Draft, origin string, done func(outcome, error)) {
	s.ledger.accept()
	finish := func(o outcome, err error) {
		s.ledger.settle(o, err)
		done(o, err)
	}
	if err := d.check(); err != nil {
		finish(outcome{}, err)
		return
	}
	if ok, after := s.perUser.Allow(who.UserID); !ok {
		finish(outcome{}, fault.Wrap(fault.CodeRateLimited, s.perUser.Exceeded(after), "Too many messages from this account.").After(after))
		return
	}
	r, err := s.mayPost(ctx, d.ConversationID, who.UserID)
	if err != nil {
		finish(outcome{}, err)
		return
	}
	if ok, after := s.perConversation.Allow(d.ConversationID); !ok {
		finish(outcome{}, fault.Wrap(fault.CodeRateLimited, s.perConversation.Exceeded(after), "Too many messages in this conversation.").After(after))
		return
	}
	s.appends.Submit(ctx, newPost(ctx, r, who, d, origin), finish)
}

// sendAndWait is send for callers that can wait.
func (s *Service) sendAndWait(ctx context.Context, who token.Identity, d Draft) (outcome, error) {
	type answer struct {
		o   outcome
		err error
	}
	got := make(chan answer, 1)
	s.send(ctx, author{who, deviceHash(who.UserID, who.DeviceID)}, d, "", func(o outcome, err error) { got <- answer{o, err} })
	select {
	case a := <-got:
		return a.o, a.err
	case <-ctx.Done():
		return outcome{}, fault.From(context.Cause(ctx))
	}
}

// mayPost gives the room if the user is a member; whoever may not see the
// conversation gets not_found.
func (s *Service) mayPost(ctx context.Context, conversation, user string) (*room, error) {
	r, err := s.rooms.get(ctx, conversation)
	if err != nil {
		return nil, err
	}
	if !r.has(user) {
		return nil, errNoConversation
	}
	return r, nil
}

var (
	errNoConversation = fault.New(fault.CodeNotFound, "There is no such conversation.")
	errNoMessage      = fault.New(fault.CodeNotFound, "There is no such message.")
)
