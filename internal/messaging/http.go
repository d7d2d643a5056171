package messaging

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/web"
	"github.com/nova-chat/nova/internal/ws"
)

// Routes registers the service's routes; s may be nil for documents alone.
// connects limits the sockets that one address may open.
func Routes(r *web.Router, s *Service, connects *limit.Limiter) {
	web.Register(r, route("create", "POST", "/conversations", "Make a conversation", func(rt *web.Route) {
		rt.Status, rt.AlsoStatus, rt.MaxBody = http.StatusCreated, []int{http.StatusOK}, 512<<10
		rt.Doc = "A direct conversation is made once for each pair of users; a repeat answers 200 with it. Idempotency-Key makes the creation of a group repeatable for 24 hours."
		rt.Errors = []fault.Code{fault.CodeNotFound, fault.CodeInvalid, fault.CodeTooLong, fault.CodeIdempotencyConflict}
	}), s.postConversation)
	web.Register(r, route("list", "GET", "/conversations", "List my conversations", func(rt *web.Route) {
		rt.Errors = []fault.Code{fault.CodeBadCursor}
	}), s.getConversations)
	web.Register(r, route("get", "GET", "/conversations/{id}", "One conversation", notFound), s.getConversation)
	web.Register(r, route("read", "PUT", "/conversations/{id}/read", "Move my read mark", func(rt *web.Route) {
		rt.Status = http.StatusNoContent
		rt.Errors = []fault.Code{fault.CodeBadID, fault.CodeNotFound, fault.CodeInvalid}
	}), s.putRead)
	web.Register(r, route("history", "GET", "/conversations/{id}/messages", "History of a conversation", func(rt *web.Route) {
		rt.Doc = "Ascending with after_seq, else descending; both are exclusive. cursor goes on where a page ended."
		rt.Errors = []fault.Code{fault.CodeBadID, fault.CodeNotFound, fault.CodeBadCursor, fault.CodeInvalid}
	}), s.getHistory)
	web.Register(r, route("send", "POST", "/messages", "Send a message", func(rt *web.Route) {
		rt.Status, rt.AlsoStatus = http.StatusCreated, []int{http.StatusOK}
		rt.Doc = "201 when the message was committed and fsynced; 200 with the same content when the same device sent the same client_msg_id before."
		rt.Errors = []fault.Code{fault.CodeBadID, fault.CodeNotFound, fault.CodeInvalid, fault.CodeTooLong, fault.CodeIdempotencyConflict, fault.CodeRateLimited, fault.CodeUnavailable, fault.CodeOverloaded, fault.CodeStorageFull}
	}), s.postMessage)
	web.Register(r, route("feed", "GET", "/messages", "What is new for me", func(rt *web.Route) {
		rt.Doc = "All my conversations in one stable order. Without a cursor: the newest messages. next_cursor is never null and may be used again later."
		rt.Errors = []fault.Code{fault.CodeBadCursor}
	}), s.getFeed)
	web.Register(r, route("message", "GET", "/messages/{id}", "One message", notFound), s.getMessage)
	r.Handle(web.Route{
		Service: obs.Messaging, Op: "messaging.socket", Method: "GET", Path: "/api/v1/ws", Access: web.Optional,
		Summary: "Open a socket (WebSocket, subprotocol nova.v1)", Status: http.StatusSwitchingProtocols, Limit: connects,
		Errors: []fault.Code{fault.CodeBadRequest, fault.CodeBadSubprotocol, fault.CodeUpgradeRequired, fault.CodeForbidden, fault.CodeTokenInURL, fault.CodeUnavailable},
	}, http.HandlerFunc(s.upgrade))
}

func route(op, method, path, summary string, more func(*web.Route)) web.Route {
	rt := web.Route{
		Service: obs.Messaging, Op: "messaging." + op, Method: method, Path: "/api/v1" + path,
		Access: web.SignedIn, Summary: summary, Status: http.StatusOK,
	}
	more(&rt)
	return rt
}

func notFound(rt *web.Route) { rt.Errors = []fault.Code{fault.CodeBadID, fault.CodeNotFound} }

type createInput struct {
	RequestID string `header:"Idempotency-Key" maxLength:"64" doc:"1 to 64 characters of A-Z a-z 0-9 . _ -"`
	Body      Plan
}

type conversationOutput struct {
	Status int
	Body   Conversation
}

func (s *Service) postConversation(ctx context.Context, in *createInput) (*conversationOutput, error) {
	if in.RequestID != "" {
		if _, ok := obs.ParseCorrelation(in.RequestID); !ok {
			return nil, fault.OnField(fault.CodeInvalid, "Idempotency-Key", "must have 1 to 64 characters of A-Z a-z 0-9 . _ -")
		}
	}
	c, made, err := s.create(ctx, token.MustFrom(ctx).UserID, in.Body, in.RequestID)
	if err != nil {
		return nil, err
	}
	return &conversationOutput{Status: createdOr200(made), Body: c}, nil
}

func createdOr200(made bool) int {
	if made {
		return http.StatusCreated
	}
	return http.StatusOK
}

type idInput struct {
	ID string `path:"id"`
}

func (s *Service) getConversation(ctx context.Context, in *idInput) (*conversationOutput, error) {
	c, err := s.conversation(ctx, in.ID, token.MustFrom(ctx).UserID)
	if err != nil {
		return nil, err
	}
	return &conversationOutput{Status: http.StatusOK, Body: c}, nil
}

type listInput struct {
	Cursor string `query:"cursor"`
	Limit  int64  `query:"limit" default:"50" doc:"1 to 100; what lies outside is clamped."`
}

// pageSize clamps what was asked for.
func pageSize(limit int64) int { return int(min(max(limit, 1), maxPage)) }

const maxPage = 100

type page[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
}

func newPage[T any](items []T, next string) page[T] {
	p := page[T]{Items: items}
	if p.Items == nil {
		p.Items = []T{}
	}
	if next != "" {
		p.NextCursor = &next
	}
	return p
}

type conversationsOutput struct{ Body page[Conversation] }

func (s *Service) getConversations(ctx context.Context, in *listInput) (*conversationsOutput, error) {
	items, next, err := s.list(ctx, token.MustFrom(ctx).UserID, in.Cursor, pageSize(in.Limit))
	if err != nil {
		return nil, err
	}
	return &conversationsOutput{newPage(items, next)}, nil
}

type readInput struct {
	ID   string `path:"id"`
	Body struct {
		Seq int64 `json:"seq"`
	}
}

func (s *Service) putRead(ctx context.Context, in *readInput) (*struct{}, error) {
	return nil, s.markRead(ctx, token.MustFrom(ctx).UserID, in.ID, in.Body.Seq)
}

type historyInput struct {
	ID        string `path:"id"`
	Cursor    string `query:"cursor"`
	Limit     int64  `query:"limit" default:"50" doc:"1 to 100; what lies outside is clamped."`
	AfterSeq  int64  `query:"after_seq" default:"-1" doc:"Messages after this one, ascending; -1 is none given."`
	BeforeSeq int64  `query:"before_seq" default:"-1" doc:"Messages before this one, descending; -1 is none given."`
}

type messagesOutput struct{ Body page[Message] }

func (s *Service) getHistory(ctx context.Context, in *historyInput) (*messagesOutput, error) {
	given := 0
	for _, set := range []bool{in.Cursor != "", in.AfterSeq >= 0, in.BeforeSeq >= 0} {
		if set {
			given++
		}
	}
	if given > 1 {
		return nil, fault.OnField(fault.CodeInvalid, "cursor", "stands in place of after_seq and before_seq, of which at most one may be given")
	}
	items, next, err := s.history(ctx, token.MustFrom(ctx).UserID, in.ID, Span{After: in.AfterSeq, Before: in.BeforeSeq, Cursor: in.Cursor, Limit: pageSize(in.Limit)})
	if err != nil {
		return nil, err
	}
	return &messagesOutput{newPage(items, next)}, nil
}

type sendInput struct {
	Body struct {
		ConversationID string `json:"conversation_id"`
		ClientMsgID    string `json:"client_msg_id" doc:"1 to 64 characters of A-Z a-z 0-9 . _ -; UUIDv7 recommended. The same one of the same device is stored once."`
		Body           string `json:"body" doc:"1 byte to 16 KiB of text, kept verbatim."`
	}
}

type messageOutput struct {
	Status int
	Body   Message
}

func (s *Service) postMessage(ctx context.Context, in *sendInput) (*messageOutput, error) {
	if s.draining.Load() { // or steady senders would hold up the drain
		return nil, fault.New(fault.CodeUnavailable, "This node is restarting.").After(time.Second)
	}
	who := token.MustFrom(ctx)
	o, err := s.sendAndWait(ctx, who, Draft{in.Body.ConversationID, in.Body.ClientMsgID, in.Body.Body})
	if err != nil {
		return nil, err
	}
	s.ledger.acknowledged.Add(1)
	s.logSent(ctx, who, &o)
	return &messageOutput{Status: createdOr200(!o.repeat), Body: s.message(o.row)}, nil
}

type feedOutput struct {
	Body struct {
		Items      []Message `json:"items"`
		NextCursor string    `json:"next_cursor"`
		HasMore    bool      `json:"has_more"`
	}
}

func (s *Service) getFeed(ctx context.Context, in *listInput) (*feedOutput, error) {
	items, next, more, err := s.feed(ctx, token.MustFrom(ctx).UserID, in.Cursor, pageSize(in.Limit))
	if err != nil {
		return nil, err
	}
	out := new(feedOutput)
	out.Body.Items, out.Body.NextCursor, out.Body.HasMore = items, next, more
	return out, nil
}

func (s *Service) getMessage(ctx context.Context, in *idInput) (*messageOutput, error) {
	m, err := s.byID(ctx, token.MustFrom(ctx).UserID, in.ID)
	if err != nil {
		return nil, err
	}
	return &messageOutput{Status: http.StatusOK, Body: m}, nil
}

// upgrade opens a socket. A proof of identity that does not hold is not refused
// here but closed with 4401 or 4410 after hello: browsers do not show a page
// why an upgrade was refused.
func (s *Service) upgrade(w http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	if s.draining.Load() {
		web.Problem(w, req, fault.New(fault.CodeUnavailable, "This node is restarting.").After(time.Second))
		return
	}
	if s.revocations.Silence() > 0 {
		web.Problem(w, req, fault.New(fault.CodeUnavailable, "This node cannot tell which sessions have ended.").After(time.Second))
		return
	}
	so := &socket{s: s, opened: time.Now(), refused: web.Refusal(ctx)}
	if who, ok := token.From(ctx); ok {
		so.who = who
	}
	h := ws.Handler{
		Opened: func(c *ws.Conn) {
			so.conn = c
			s.openings.add(so)
		},
		Text:    func(_ *ws.Conn, payload []byte) { so.text(payload) },
		Written: func(_ *ws.Conn, frames []*ws.Frame, at time.Time) { so.written(frames, at) },
		Closed:  func(_ *ws.Conn, why obs.CloseReason, unsent []*ws.Frame) { so.closed(why, unsent) },
	}
	if _, err := s.sockets.Upgrade(w, req, obs.CorrelationFrom(ctx), h); err != nil {
		web.Problem(w, req, err)
		return
	}
	if s.obs.Sample(obs.SiteSocket) {
		s.log.LogAttrs(ctx, slog.LevelInfo, "socket opened", slog.String("op", "messaging.socket"))
	}
}
