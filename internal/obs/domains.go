package obs

// This file holds the closed label sets that are not reasons.

// Stage is a stretch of a message's way, from its acceptance on.
type Stage uint8

// The stages of message_e2e_latency_seconds.
const (
	StageWritten      Stage = iota // until written to the recipient's socket
	StageAcknowledged              // until the recipient's acknowledgement was received
)

var stageNames = []string{"written", "acknowledged"}

func (s Stage) String() string { return nameAt(stageNames, uint8(s)) }

// Cache names a bounded cache.
type Cache uint8

// The caches of cache_requests_total.
const (
	CacheConversations Cache = iota // members of a conversation
	CacheAccounts                   // existence of an account
	CacheProfiles
)

var cacheNames = []string{"conversations", "accounts", "profiles"}

func (c Cache) String() string { return nameAt(cacheNames, uint8(c)) }

func (c Cache) service() Service {
	if c == CacheProfiles {
		return User
	}
	return Messaging
}

// CacheResult is how a look-up ended.
type CacheResult uint8

// The results of cache_requests_total.
const (
	CacheHit CacheResult = iota
	CacheMiss
)

var cacheResults = []string{"hit", "miss"}

func (c CacheResult) String() string { return nameAt(cacheResults, uint8(c)) }

// Queue is something that is worked off in order.
type Queue uint8

// The queues of queue_processing_lag_messages: the fan-out to this node's
// sockets, and the event consumers of the services that have one.
const (
	QueueFanout Queue = iota
	QueueUserEvents
	QueueAuthEvents
)

var queueNames = []string{"fanout", "user_events", "auth_events"}

func (q Queue) String() string { return nameAt(queueNames, uint8(q)) }

func (q Queue) service() Service {
	switch q {
	case QueueUserEvents:
		return User
	case QueueAuthEvents:
		return Auth
	default:
		return Messaging
	}
}

// Access is what a database operation does.
type Access uint8

// The kinds of db_operation_duration_seconds.
const (
	AccessRead Access = iota
	AccessWrite
)

var accessNames = []string{"read", "write"}

func (a Access) String() string { return nameAt(accessNames, uint8(a)) }

// Outcome is how a call ended.
type Outcome uint8

// The outcomes of rpc_calls_total.
const (
	OutcomeOK Outcome = iota
	OutcomeRefused
	OutcomeFailed
)

var outcomeNames = []string{"ok", "refused", "failed"}

func (o Outcome) String() string { return nameAt(outcomeNames, uint8(o)) }

// Phase is a part of the shutdown.
type Phase uint8

// The phases of shutdown_phase_seconds, in their order.
const (
	PhaseNotReady Phase = iota
	PhaseRefuse
	PhaseDrain
	PhaseClose
	PhaseConsumers
	PhaseRelays
	PhaseStores
)

var phaseNames = []string{"not_ready", "refuse", "drain", "close", "consumers", "relays", "stores"}

func (p Phase) String() string { return nameAt(phaseNames, uint8(p)) }

// Op is the operation of a WebSocket frame that a client sent.
type Op uint8

// The operations of ws_frames_total.
const (
	OpHello Op = iota
	OpSend
	OpAck
	OpRead
	OpTyping
	OpPing
	OpOther
)

var opNames = []string{"hello", "send", "ack", "read", "typing", "ping", "other"}

func (o Op) String() string { return nameAt(opNames, uint8(o)) }
