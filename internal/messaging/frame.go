package messaging

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/ws"
)

// The frames of the hot path are appended by hand: each is made once per
// message, and op comes first, as the protocol wants it.

// appendText appends a JSON string. What is stored was read from valid UTF-8,
// so quoting cannot fail.
func appendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// appendPlain appends a string that needs no escaping: identifiers and the like.
func appendPlain(b []byte, s string) []byte {
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// encodeMessage gives the message object of the protocol.
func encodeMessage(id string, r *row) []byte {
	return joinMessage(id, r, appendMessageTail(make([]byte, 0, 200+len(r.body)+len(r.body)/8), r))
}

// joinMessage puts what is known only in the transaction before the tail.
func joinMessage(id string, r *row, tail []byte) []byte {
	b := appendPlain(append(make([]byte, 0, 110+len(tail)), `{"id":`...), id)
	b = appendPlain(append(b, `,"conversation_id":`...), r.conversation)
	b = strconv.AppendInt(append(b, `,"seq":`...), r.seq, 10)
	return append(b, tail...)
}

// appendMessageTail appends what follows the sequence number in a message.
func appendMessageTail(b []byte, r *row) []byte {
	b = appendPlain(append(b, `,"sender_id":`...), r.sender)
	b = appendPlain(append(b, `,"device_id":`...), r.device)
	b = appendPlain(append(b, `,"client_msg_id":`...), r.clientMsgID)
	b = appendText(append(b, `,"body":`...), r.body)
	b = append(b, `,"version":1,"created_at":"`...)
	b = appendStamp(b, r.created)
	return append(b, `"}`...)
}

// messageFrame wraps an encoded message for the sockets of all recipients.
func messageFrame(cid obs.Correlation, message []byte, accepted time.Time) *ws.Frame {
	b := make([]byte, ws.HeadRoom, ws.HeadRoom+len(message)+len(cid)+40)
	b = appendPlain(append(b, `{"op":"message","cid":`...), string(cid))
	b = append(append(b, `,"message":`...), message...)
	return ws.FrameOf(append(b, '}'), ws.Message, accepted)
}

// head of an answer: {"op":...,"id":...,"cid":...
func appendAnswer(b []byte, op, id string, cid obs.Correlation) []byte {
	b = appendPlain(append(b, `{"op":`...), op)
	if id != "" {
		b = appendText(append(b, `,"id":`...), id)
	}
	return appendPlain(append(b, `,"cid":`...), string(cid))
}

func (s *Service) sentFrame(id string, cid obs.Correlation, r *row) *ws.Frame {
	b := appendAnswer(make([]byte, ws.HeadRoom, ws.HeadRoom+246), "sent", id, cid)
	b = appendPlain(append(b, `,"conversation_id":`...), r.conversation)
	b = appendPlain(append(b, `,"message_id":`...), s.messageID(r))
	b = strconv.AppendInt(append(b, `,"seq":`...), r.seq, 10)
	b = append(b, `,"ts":"`...)
	b = appendStamp(b, r.created)
	return ws.FrameOf(append(b, `"}`...), ws.Control, time.Time{})
}

func errorFrame(id string, cid obs.Correlation, f *fault.Error) *ws.Frame {
	b := appendAnswer(nil, "error", id, cid)
	b = appendPlain(append(b, `,"code":`...), f.Code.String())
	detail := f.Detail
	if detail == "" {
		detail = f.Code.Title()
	}
	b = appendText(append(b, `,"message":`...), detail)
	b = strconv.AppendBool(append(b, `,"retryable":`...), f.Code.Retryable())
	if f.RetryAfter > 0 {
		b = strconv.AppendInt(append(b, `,"retry_after_ms":`...), max(1, f.RetryAfter.Milliseconds()), 10)
	}
	b = appendPlain(append(b, `,"correlation_id":`...), string(cid))
	return ws.NewFrame(append(b, '}'), ws.Control, time.Time{})
}

func okFrame(id string, cid obs.Correlation) *ws.Frame {
	return ws.NewFrame(append(appendAnswer(nil, "ok", id, cid), '}'), ws.Control, time.Time{})
}
