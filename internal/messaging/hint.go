package messaging

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/ws"
)

// hint is an event that is not in the log: typing and receipts. It travels to
// every node as the frame that the recipients get.
type hint struct {
	To        []string       `json:"to,omitempty"` // users; nil = the members of the conversation
	Except    string         `json:"except,omitempty"`
	Ephemeral bool           `json:"ephemeral,omitempty"` // dropped first under pressure
	Frame     jsontext.Value `json:"frame"`
}

func (h *hint) kind() ws.FrameKind {
	if h.Ephemeral {
		return ws.Ephemeral
	}
	return ws.Control
}

// publish sends a hint to all nodes. A hint that is lost is only counted: what
// it tells can be read again, and while nothing gets through, which the fan-out
// logs itself, each message would have a line.
func (s *Service) publish(ctx context.Context, conversation string, h hint) {
	payload, err := json.Marshal(h)
	if err == nil {
		err = s.fanout.Publish(ctx, []bus.Envelope{{
			ID: id.New(), Type: typeHint, Key: conversation, At: time.Now(), Correlation: obs.CorrelationFrom(ctx), Payload: payload,
		}})
	}
	if err != nil {
		s.obs.Metrics.EventFailures.Inc(obs.BusUnavailable)
	}
	if err != nil && !fault.Is(err, fault.CodeUnavailable) {
		s.log.LogAttrs(ctx, slog.LevelWarn, "a hint was lost", slog.String("reason", obs.BusUnavailable.String()), obs.Cause(err))
	}
}

// opened is what a node tells the others of a socket that was admitted: the
// socket that had the session before may be theirs.
type opened struct {
	Session string `json:"session"`
	Socket  string `json:"socket"`
	At      int64  `json:"at"` // nanoseconds
}

func (so *socket) asOpened() opened {
	return opened{so.who.SessionID, so.conn.ID(), so.admitted.UnixNano()}
}

// after says which of two sockets replaces the other: the later one, by any
// order that all nodes agree on.
func (o opened) after(other opened) bool {
	if o.At != other.At {
		return o.At > other.At
	}
	return o.Socket > other.Socket
}

// announce tells the other nodes of a socket: by a hint, which costs nothing, or,
// while those do not get through, by the log, which all nodes follow.
func (so *socket) announce(ctx context.Context) {
	payload, err := json.Marshal(so.asOpened())
	if err == nil {
		e := bus.Envelope{ID: id.New(), Type: typeOpened, At: so.admitted, Correlation: obs.CorrelationFrom(ctx), Payload: payload}
		if so.s.fanout.Publish(ctx, []bus.Envelope{e}) == nil {
			return
		}
		err = so.s.db.Write(ctx, "messaging.announce", func(ctx context.Context, tx *sqldb.Tx) error { return so.s.outbox.Emit(ctx, tx, e) })
	}
	if err != nil {
		so.s.obs.Metrics.EventFailures.Inc(obs.BusUnavailable)
		so.s.log.LogAttrs(ctx, slog.LevelWarn, "other nodes were not told of a socket", slog.String("reason", obs.BusUnavailable.String()), obs.Cause(err))
	}
}

// announced closes this node's socket of the session, if the one that is told of
// replaces it. If it is the other way round, the other node may have admitted
// that one after it was told of ours, and is told again.
func (h *hub) announced(ctx context.Context, e *bus.Envelope) {
	var o opened
	if err := json.Unmarshal(e.Payload, &o); err != nil {
		h.drop(obs.WithCorrelation(ctx, e.Correlation), e, err)
		return
	}
	h.joining.RLock()
	so := h.sessions[o.Session]
	h.joining.RUnlock()
	switch {
	case so == nil || so.conn.ID() == o.Socket:
	case o.after(so.asOpened()):
		so.conn.Close(obs.CloseReplaced, "another socket of this session")
	default:
		h.s.group.Go(obs.WithCorrelation(ctx, e.Correlation), "messaging.announce", so.announce)
	}
}

// conversationFrame is the event that a conversation was made or has changed.
func conversationFrame(e *bus.Envelope) *ws.Frame {
	what := "created"
	if e.Type == typeChanged {
		what = "changed"
	}
	b := appendAnswer(make([]byte, 0, len(e.Payload)+120), "conversation", "", e.Correlation)
	b = appendPlain(append(b, `,"event":`...), what)
	b = append(append(b, `,"conversation":`...), e.Payload...)
	return ws.NewFrame(append(b, '}'), ws.Control, e.At)
}

// messageSender reads the sender out of an encoded message, where it has a
// fixed place behind the sequence number.
func messageSender(message []byte) []byte {
	const name = `,"sender_id":"`
	i := bytes.Index(message, []byte(name))
	if i < 0 || i+len(name)+id.Len > len(message) {
		return nil
	}
	return message[i+len(name) : i+len(name)+id.Len]
}
