// Package inbound reads the frames that clients send over WebSockets, as
// docs/protocol.md describes them.
package inbound

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
)

// Frame is one that a client sent, decoded. What its op does not have is zero.
type Frame struct {
	Op  obs.Op
	ID  string          // of the request, chosen by the client; empty if it wants no answer
	CID obs.Correlation // never empty

	ConversationID string
	ClientMsgID    string
	Body           string
	Seq            int64 // of ack and read
	On             bool  // of typing
	Ticket         string
	Resume         *Resume
}

// Resume is what a returning device says that it has: of each conversation,
// everything up to a sequence number.
type Resume struct {
	Epoch         string           `json:"epoch"`
	Conversations map[string]int64 `json:"conversations"`
}

// common are the fields of every frame.
type common struct {
	Op  string `json:"op"`
	ID  string `json:"id"`
	CID string `json:"cid"`
}

type (
	helloFrame struct {
		common
		Ticket string  `json:"ticket"`
		Resume *Resume `json:"resume"`
	}
	sendFrame struct {
		common
		ConversationID string `json:"conversation_id"`
		ClientMsgID    string `json:"client_msg_id"`
		Body           string `json:"body"`
	}
	markFrame struct {
		common
		ConversationID string `json:"conversation_id"`
		Seq            *int64 `json:"seq"`
	}
	typingFrame struct {
		common
		ConversationID string `json:"conversation_id"`
		On             *bool  `json:"on"`
	}
)

// maxFrameID is the longest id of a frame in bytes.
const maxFrameID = 64

// ErrNoObject closes the socket: whoever sends that speaks another protocol.
var ErrNoObject = fault.New(fault.CodeBadFrame, "A frame must be one JSON object.")

// Decode reads a frame strictly: unknown and repeated fields are refused. The
// id and the cid are filled in also with an error, wherever in the object they
// stand, so that the error finds its request.
// n is the number of the frame on its socket, upgrade the socket's correlation ID.
func Decode(payload []byte, upgrade obs.Correlation, n uint64) (Frame, error) {
	in := Frame{Op: obs.OpOther, CID: upgrade.Child(n)}
	if payload = bytes.TrimLeft(payload, " \t\r\n"); len(payload) == 0 || payload[0] != '{' {
		return in, ErrNoObject
	}
	in, err := in.decode(payload)
	if err != nil && !errors.Is(err, ErrNoObject) {
		c, broken := readCommon(payload)
		if broken {
			err = ErrNoObject
		}
		in.common(c)
	}
	return in, err
}

// readCommon finds the id and the cid of an object that is wrong elsewhere;
// broken says that it is no object at all further on.
func readCommon(payload []byte) (c common, broken bool) {
	d := jsontext.NewDecoder(bytes.NewBuffer(payload))
	_, err := d.ReadToken()
	for err == nil && d.PeekKind() != jsontext.KindEndObject {
		err = readMember(d, &c)
	}
	if err == nil {
		_, err = d.ReadToken()
	}
	if err == nil {
		_, err = d.ReadToken()
	}
	return c, !errors.Is(err, io.EOF) && !errors.Is(err, jsontext.ErrDuplicateName)
}

func readMember(d *jsontext.Decoder, c *common) error {
	name, err := d.ReadToken()
	if err != nil {
		return err
	}
	into := map[string]*string{"id": &c.ID, "cid": &c.CID}[name.String()]
	if into == nil || d.PeekKind() != jsontext.KindString {
		return d.SkipValue()
	}
	value, err := d.ReadToken()
	if err == nil {
		*into = value.String()
	}
	return err
}

func (in Frame) decode(payload []byte) (_ Frame, err error) {
	var head common
	if bytes.HasPrefix(payload, []byte(`{"op":"send",`)) {
		head.Op = "send" // the hot path is spared the first look
	} else if err := json.Unmarshal(payload, &head); err != nil {
		in.common(head)
		return in, frameError(err)
	}
	in.common(head)
	switch head.Op {
	case "hello":
		return in.hello(payload)
	case "send":
		return in.send(payload)
	case "ack", "read":
		return in.mark(head.Op, payload)
	case "typing":
		return in.typing(payload)
	case "ping":
		in.Op = obs.OpPing
		var f common
		return in, in.strict(payload, &f, &f)
	}
	return in, fault.New(fault.CodeUnknownOp, "There is no such op.")
}

// common takes over the id and the cid, the latter only if it is well formed.
func (in *Frame) common(c common) {
	if len(c.ID) <= maxFrameID {
		in.ID = c.ID
	}
	if cid, ok := obs.ParseCorrelation(c.CID); ok {
		in.CID = cid
	}
}

// strict decodes into f, whose common fields are at c.
func (in *Frame) strict(payload []byte, f any, c *common) error {
	err := json.Unmarshal(payload, f, json.RejectUnknownMembers(true))
	if err != nil {
		in.common(*c)
		return frameError(err)
	}
	return in.take(c)
}

// take takes over the common fields of a frame that could be read.
func (in *Frame) take(c *common) error {
	in.common(*c)
	if len(c.ID) > maxFrameID {
		return fault.OnField(fault.CodeTooLong, "id", "must have at most 64 bytes")
	}
	return nil
}

func (in Frame) hello(payload []byte) (Frame, error) {
	in.Op = obs.OpHello
	var f helloFrame
	err := in.strict(payload, &f, &f.common)
	in.Ticket, in.Resume = f.Ticket, f.Resume
	return in, err
}

func (in Frame) send(payload []byte) (Frame, error) {
	in.Op = obs.OpSend
	f, ok := scanSend(payload)
	var err error
	if ok {
		err = in.take(&f.common)
	} else {
		f = sendFrame{}
		err = in.strict(payload, &f, &f.common)
	}
	in.ConversationID, in.ClientMsgID, in.Body = f.ConversationID, f.ClientMsgID, f.Body
	return in, err
}

func (in Frame) mark(op string, payload []byte) (Frame, error) {
	in.Op = obs.OpAck
	if op == "read" {
		in.Op = obs.OpRead
	}
	var f markFrame
	if err := in.strict(payload, &f, &f.common); err != nil {
		return in, err
	}
	in.ConversationID = f.ConversationID
	if !id.Valid(f.ConversationID) {
		return in, fault.BadID("conversation_id")
	}
	if f.Seq == nil || *f.Seq < 0 {
		return in, fault.OnField(fault.CodeInvalid, "seq", "must be a sequence number of the conversation")
	}
	in.Seq = *f.Seq
	return in, nil
}

func (in Frame) typing(payload []byte) (Frame, error) {
	in.Op = obs.OpTyping
	var f typingFrame
	if err := in.strict(payload, &f, &f.common); err != nil {
		return in, err
	}
	in.ConversationID = f.ConversationID
	if !id.Valid(f.ConversationID) {
		return in, fault.BadID("conversation_id")
	}
	if f.On == nil {
		return in, fault.OnField(fault.CodeInvalid, "on", "must be true or false")
	}
	in.On = *f.On
	return in, nil
}

// frameError says what was wrong with a frame, without a word of its content.
func frameError(err error) error {
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		field := semantic.JSONPointer.LastToken()
		switch {
		case errors.Is(err, json.ErrUnknownName) && safeName(field):
			return fault.OnField(fault.CodeUnknownField, field, "is not a field of this op")
		case errors.Is(err, json.ErrUnknownName):
			return fault.New(fault.CodeUnknownField, "A field is not one of this op.")
		case semantic.JSONPointer == "":
			return ErrNoObject
		case safeName(field):
			return fault.OnField(fault.CodeBadFrame, field, "has the wrong type")
		}
		return fault.New(fault.CodeBadFrame, "A field has the wrong type.")
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return fault.New(fault.CodeBadFrame, "A field stands twice.")
	}
	return ErrNoObject
}

// safeName says whether a client's field name may be shown and logged.
func safeName(s string) bool {
	_, ok := obs.ParseCorrelation(s)
	return ok
}
