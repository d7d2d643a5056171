package obs

// Site is a place in the code whose log lines are sampled.
type Site uint8

// The sites of log_lines_dropped_total.
const (
	SiteRequest  Site = iota // one line per HTTP request that went well
	SiteSend                 // a message was committed
	SiteDeliver              // a message was handed to this node's sockets
	SiteSocket               // a socket opened or closed
	SiteCall                 // one line per RPC that went well
	SiteEvent                // an event was handled
	SiteRefusal              // a request or frame was refused
	SiteIdentity             // a proof of identity was refused
)

var siteNames = []string{"request", "send", "deliver", "socket", "call", "event", "refusal", "identity"}

func (s Site) String() string { return nameAt(siteNames, uint8(s)) }

func (s Site) service() Service {
	switch s {
	case SiteSend, SiteDeliver, SiteSocket:
		return Messaging
	default:
		return Process
	}
}
