package fault

// Kind is the family of a [Code]. It decides the gRPC status.
type Kind uint8

// The twelve kinds.
const (
	Invalid         Kind = iota // the request cannot be read
	Unprocessable               // the request can be read but is not allowed
	Unauthenticated             // nobody vouches for the caller
	Denied                      // the caller is known and may not
	NotFound                    // there is no such thing, or the caller may not see it
	Conflict                    // at odds with what is there
	Exhausted                   // a limit of the caller's is used up
	Unsupported                 // the server does not do this
	Timeout                     // the deadline passed; the outcome is unknown
	Canceled                    // the caller went away; the outcome is unknown
	Unavailable                 // the server cannot do it now
	Internal                    // a defect of the server's
)

var kindNames = [...]string{
	"invalid", "unprocessable", "unauthenticated", "denied", "not_found", "conflict",
	"exhausted", "unsupported", "timeout", "canceled", "unavailable", "internal",
}

// String names the kind, or "" for a value outside the set.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}
