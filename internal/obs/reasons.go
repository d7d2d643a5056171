package obs

// This file holds why things fail, closed sets all of them. A reason is counted
// and logged under the same name; "unknown" is a defect wherever it is not 0.

// LoginReason is why a login was refused.
type LoginReason uint8

// The reasons of login_failures_total.
const (
	WrongPassword LoginReason = iota
	UserNotFound
	AccountLocked
	TwoFactorFailed
	AddressThrottled
	HashingBusy
	LoginUnknown
)

var loginReasons = []string{"wrong_password", "user_not_found", "account_locked", "2fa_failed", "address_throttled", "hashing_busy", "unknown"}

func (r LoginReason) String() string { return nameAt(loginReasons, uint8(r)) }

// IdentityReason is why a caller's proof of identity was refused.
type IdentityReason uint8

// The reasons of identity_refusals_total.
const (
	IdentityMissing IdentityReason = iota
	IdentityMalformed
	IdentityWrongSignature
	IdentityExpired
	IdentityNotYetValid
	IdentityWrongAudience
	IdentityWrongKind
	IdentityRevoked
	TicketUnknown // used, old or never given
	RefreshReused
	RefreshUnknown // never given, expired or revoked
)

var identityReasons = []string{"missing", "malformed", "wrong_signature", "expired", "not_yet_valid", "wrong_audience", "wrong_kind", "revoked", "ticket_unknown", "refresh_reused", "refresh_unknown"}

func (r IdentityReason) String() string { return nameAt(identityReasons, uint8(r)) }

// DeliveryReason is why a message did not reach a socket it was meant for. The
// message itself is safe in the log; the device fetches it when it resumes.
type DeliveryReason uint8

// The reasons of message_delivery_failures_total.
const (
	DeliverySlow        DeliveryReason = iota // the client did not take what was queued
	DeliveryClosed                            // one side closed the socket with the message still queued
	DeliveryWrite                             // the connection broke before the message was written
	DeliveryUnacked                           // written, and not acknowledged in time
	DeliveryUnavailable                       // the database did not say in time who gets the message
	DeliveryUnknown
)

var deliveryReasons = []string{"slow_consumer", "socket_closed", "write_failed", "not_acknowledged", "unavailable", "unknown"}

func (r DeliveryReason) String() string { return nameAt(deliveryReasons, uint8(r)) }

// CloseReason is why a WebSocket ended; ws/reason.go maps it to a close code.
type CloseReason uint8

// The reasons of ws_closes_total.
const (
	CloseClient       CloseReason = iota // the client closed in order
	CloseGone                            // the connection broke
	ClosePing                            // no answer to pings
	CloseShutdown                        // 1012
	CloseOverloaded                      // 1013
	CloseProtocol                        // 1002
	CloseBinary                          // 1003
	CloseUTF8                            // 1007
	CloseTooBig                          // 1009
	CloseInternal                        // 1011
	CloseRateLimited                     // 4029
	CloseSlow                            // 4050
	CloseResync                          // 4051
	CloseBadFrame                        // 4400
	CloseIdentity                        // 4401
	CloseHelloTimeout                    // 4408
	CloseReplaced                        // 4409
	CloseRevoked                         // 4410
	CloseUnheard                         // 1013: which sessions have ended is not known here
)

var closeReasons = []string{
	"client", "gone", "ping_timeout", "shutdown", "overloaded", "protocol", "binary", "bad_utf8", "too_big", "internal",
	"rate_limited", "slow_consumer", "resync", "bad_frame", "not_authenticated", "hello_timeout", "replaced", "revoked", "revocations_unheard",
}

func (r CloseReason) String() string { return nameAt(closeReasons, uint8(r)) }

// StoreReason is why the database did not do what it was asked to.
type StoreReason uint8

// The reasons of db_failures_total.
const (
	StoreBusy StoreReason = iota
	StoreFull
	StoreConstraint
	StoreTimeout
	StoreCanceled
	StoreUnreachable
	StoreCorrupt
	StoreCommit // the outcome of a commit is unknown
	StoreUnknown
)

var storeReasons = []string{"busy", "full", "constraint", "timeout", "canceled", "unreachable", "corrupt", "commit_unknown", "unknown"}

func (r StoreReason) String() string { return nameAt(storeReasons, uint8(r)) }

// BusReason is why an event was not handled at the first try.
type BusReason uint8

// The reasons of event_failures_total.
const (
	BusUnavailable BusReason = iota // tried again until it works
	BusRefused                      // a definite error: set aside
	BusMalformed                    // cannot be read: set aside
)

var busReasons = []string{"unavailable", "refused", "malformed"}

func (r BusReason) String() string { return nameAt(busReasons, uint8(r)) }

// PanicSite is where a panic was caught.
type PanicSite uint8

// The sites of panics_total.
const (
	PanicHTTP PanicSite = iota
	PanicRPC
	PanicSocket
	PanicEvent
	PanicGoroutine
	PanicStore // a closure or handler of a write
)

var panicSites = []string{"http", "rpc", "socket", "event", "goroutine", "store"}

func (p PanicSite) String() string { return nameAt(panicSites, uint8(p)) }

// Limit is one of the rate limits.
type Limit uint8

// The rate limits of the protocol, and no others.
const (
	LimitMessagesPerUser Limit = iota
	LimitMessagesPerConversation
	LimitRequestsPerUser
	LimitFramesPerSocket
	LimitSocketsPerUser
	LimitConnectsPerAddress
	LimitRegistrationsPerAddress
	LimitLoginsPerAddress
)

var limitNames = []string{
	"messages_per_user", "messages_per_conversation", "requests_per_user", "frames_per_socket",
	"sockets_per_user", "connects_per_address", "registrations_per_address", "logins_per_address",
}

func (l Limit) String() string { return nameAt(limitNames, uint8(l)) }

func (l Limit) service() Service {
	switch l {
	case LimitRequestsPerUser:
		return Process
	case LimitRegistrationsPerAddress, LimitLoginsPerAddress:
		return Auth
	default:
		return Messaging
	}
}
