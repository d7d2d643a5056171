package fault

// Code is the stable, documented name of a failure, as clients read it.
// The zero Code is [CodeInternal], so that a forgotten code is never mild.
type Code uint8

// The closed set of codes.
const (
	CodeInternal Code = iota
	CodeBadRequest
	CodeUnknownField
	CodeBadID
	CodeBadCursor
	CodeBadSubprotocol
	CodeTokenInURL
	CodeUnauthenticated
	CodeLoginRefused
	CodeForbidden
	CodeNotFound
	CodeMethodNotAllowed
	CodeTimeout
	CodeConflict
	CodeUsernameTaken
	CodeIdempotencyConflict
	CodeTooLarge
	CodeUnsupportedMediaType
	CodeInvalid
	CodeTooLong
	CodeUpgradeRequired
	CodeRateLimited
	CodeLoginThrottled
	CodeCanceled
	CodeUnavailable
	CodeOverloaded
	CodeAuthBusy
	CodeStorageFull
	CodeUnknownOp
	CodeBadFrame
)

// facts are what a code always means, whatever raised it.
type facts struct {
	name      string
	kind      Kind
	retryable bool
	title     string
	remedy    string
}

// codes is indexed by Code; docs/errors and the problem documents read it.
var codes = [...]facts{
	CodeInternal:             {"internal", Internal, true, "Internal error", "Repeat the request with the same identifiers; if it stays, give the correlation ID to the operator."},
	CodeBadRequest:           {"bad_request", Invalid, false, "Unreadable request", "Send one JSON object in UTF-8 with the documented fields."},
	CodeUnknownField:         {"unknown_field", Invalid, false, "Unknown field", "Leave out the field that errors[] names."},
	CodeBadID:                {"bad_id", Invalid, false, "Malformed identifier", "Send an identifier exactly as the server gave it."},
	CodeBadCursor:            {"bad_cursor", Invalid, false, "Malformed cursor", "Send next_cursor exactly as the server gave it, to the same list."},
	CodeBadSubprotocol:       {"bad_subprotocol", Invalid, false, "WebSocket subprotocol missing", "Offer Sec-WebSocket-Protocol: nova.v1."},
	CodeTokenInURL:           {"token_in_url", Invalid, false, "Proof of identity in the address", "Send it in the Authorization header or as a ticket in the hello frame."},
	CodeUnauthenticated:      {"unauthenticated", Unauthenticated, false, "Not signed in", "Sign in or refresh, then repeat."},
	CodeLoginRefused:         {"login_refused", Unauthenticated, false, "Login refused", "Check the user name and what proves it."},
	CodeForbidden:            {"forbidden", Denied, false, "Not allowed", "Ask somebody whose role allows it."},
	CodeNotFound:             {"not_found", NotFound, false, "Not found", "Check the identifier; what you may not see answers the same."},
	CodeMethodNotAllowed:     {"method_not_allowed", Unsupported, false, "Method not allowed", "Use a method that the Allow header lists."},
	CodeTimeout:              {"timeout", Timeout, true, "Took too long", "Repeat the request with the same identifiers."},
	CodeConflict:             {"conflict", Conflict, false, "Conflict", "Read the present state and decide again."},
	CodeUsernameTaken:        {"username_taken", Conflict, false, "User name taken", "Choose another user name."},
	CodeIdempotencyConflict:  {"idempotency_conflict", Conflict, false, "Identifier used for something else", "Use a fresh identifier for different content."},
	CodeTooLarge:             {"too_large", Exhausted, false, "Too large", "Send less than the documented size."},
	CodeUnsupportedMediaType: {"unsupported_media_type", Invalid, false, "Unsupported media type", "Send Content-Type: application/json."},
	CodeInvalid:              {"invalid", Unprocessable, false, "Not allowed value", "Correct the fields that errors[] names."},
	CodeTooLong:              {"too_long", Unprocessable, false, "Too long", "Shorten the field that errors[] names."},
	CodeUpgradeRequired:      {"upgrade_required", Invalid, false, "WebSocket upgrade required", "Send a WebSocket upgrade, version 13 (RFC 6455)."},
	CodeRateLimited:          {"rate_limited", Exhausted, true, "Too many requests", "Wait for retry_after_ms, then repeat."},
	CodeLoginThrottled:       {"login_throttled", Exhausted, true, "Too many logins", "Wait for retry_after_ms, then repeat."},
	CodeCanceled:             {"canceled", Canceled, true, "Canceled", "Repeat the request with the same identifiers."},
	CodeUnavailable:          {"unavailable", Unavailable, true, "Unavailable", "Repeat the request with the same identifiers a little later."},
	CodeOverloaded:           {"overloaded", Unavailable, true, "Overloaded", "Repeat the request with the same identifiers a little later."},
	CodeAuthBusy:             {"auth_busy", Unavailable, true, "Sign-in is busy", "Repeat the request a little later."},
	CodeStorageFull:          {"storage_full", Unavailable, true, "Storage full", "Repeat the request later; the operator has to make room."},
	CodeUnknownOp:            {"unknown_op", Unsupported, false, "Unknown operation", "Send an op of the nova.v1 subprotocol."},
	CodeBadFrame:             {"bad_frame", Invalid, false, "Unreadable frame", "Send one JSON object in a text frame."},
}

// Codes lists the whole closed set.
func Codes() []Code {
	all := make([]Code, len(codes))
	for i := range all {
		all[i] = Code(i)
	}
	return all
}

// ParseCode finds the code of that name; ok is false outside the set.
func ParseCode(name string) (c Code, ok bool) {
	for i := range codes {
		if codes[i].name == name {
			return Code(i), true
		}
	}
	return CodeInternal, false
}

// String is the code's name on the wire, or "" for a value outside the set.
func (c Code) String() string {
	if int(c) < len(codes) {
		return codes[c].name
	}
	return ""
}

// Kind is the family of the code.
func (c Code) Kind() Kind { return c.facts().kind }

// Retryable says whether repeating the same request can succeed.
func (c Code) Retryable() bool { return c.facts().retryable }

// Title is a short sentence that never varies.
func (c Code) Title() string { return c.facts().title }

// Remedy says what the caller can do about it.
func (c Code) Remedy() string { return c.facts().remedy }

func (c Code) facts() *facts {
	if int(c) >= len(codes) {
		c = CodeInternal
	}
	return &codes[c]
}
