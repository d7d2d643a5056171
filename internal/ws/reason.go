package ws

import "github.com/nova-chat/nova/internal/obs"

// verdict is what a reason looks like on the wire.
type verdict struct {
	code uint16 // 0: the peer is gone, no close frame is sent
	text string // the default text
	deaf bool   // messages that are read after the decision are not handled
	drop bool   // what is queued is given up: the peer does not take it, or must not get it
}

// verdicts is indexed by obs.CloseReason. A reason that revokes trust is deaf
// at once; the others still hear what the peer had sent before it could know.
var verdicts = [...]verdict{
	obs.CloseClient:       {code: 1000, text: "bye"},
	obs.CloseGone:         {deaf: true, drop: true},
	obs.ClosePing:         {code: 1001, text: "no answer to pings", drop: true},
	obs.CloseShutdown:     {code: 1012, text: "restarting, please reconnect"},
	obs.CloseOverloaded:   {code: 1013, text: "overloaded, try again later"},
	obs.CloseProtocol:     {code: 1002, text: "protocol error", deaf: true},
	obs.CloseBinary:       {code: 1003, text: "text frames only", deaf: true},
	obs.CloseUTF8:         {code: 1007, text: "text is not UTF-8", deaf: true},
	obs.CloseTooBig:       {code: 1009, text: "message too big", deaf: true},
	obs.CloseInternal:     {code: 1011, text: "internal error", deaf: true},
	obs.CloseRateLimited:  {code: 4029, text: "too many frames", deaf: true},
	obs.CloseSlow:         {code: 4050, text: "too slow, please resume", drop: true},
	obs.CloseResync:       {code: 4051, text: "please resume"},
	obs.CloseBadFrame:     {code: 4400, text: "unreadable frame", deaf: true},
	obs.CloseIdentity:     {code: 4401, text: "not authenticated", deaf: true},
	obs.CloseHelloTimeout: {code: 4408, text: "no hello in time", deaf: true},
	obs.CloseReplaced:     {code: 4409, text: "replaced by a newer socket of this device", deaf: true},
	obs.CloseRevoked:      {code: 4410, text: "session ended", deaf: true, drop: true},
	obs.CloseUnheard:      {code: 1013, text: "try another node", deaf: true},
}

// Code is the close code that a client sees for a reason, 0 for none.
func Code(why obs.CloseReason) uint16 { return verdictOf(why).code }

func verdictOf(why obs.CloseReason) verdict {
	if int(why) < len(verdicts) {
		return verdicts[why]
	}
	return verdicts[obs.CloseInternal]
}

func (v verdict) frame(text string) *Frame {
	if text == "" {
		text = v.text
	}
	return closeFrame(v.code, text)
}

// validCode says whether a peer may send that close code (RFC 6455, 7.4, and
// the codes registered since).
func validCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}
