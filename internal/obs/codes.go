package obs

import (
	"slices"

	"github.com/nova-chat/nova/internal/fault"
)

// This file holds which error codes can be counted where.

var (
	// onHTTP are the codes that no frame is answered with.
	onHTTP = []fault.Code{
		fault.CodeBadCursor, fault.CodeBadSubprotocol, fault.CodeTokenInURL, fault.CodeLoginRefused, fault.CodeForbidden,
		fault.CodeMethodNotAllowed, fault.CodeUsernameTaken, fault.CodeTooLarge, fault.CodeUnsupportedMediaType,
		fault.CodeUpgradeRequired, fault.CodeLoginThrottled, fault.CodeAuthBusy,
	}
	// onSockets are the codes that only frames are answered with.
	onSockets = []fault.Code{fault.CodeUnknownOp, fault.CodeBadFrame}

	// rejections are the definite refusals of a send that was understood. The
	// conflict is the database's, and what no send should be refused with.
	rejections = []fault.Code{
		fault.CodeBadRequest, fault.CodeBadID, fault.CodeInvalid, fault.CodeTooLong, fault.CodeNotFound, fault.CodeConflict,
		fault.CodeIdempotencyConflict, fault.CodeRateLimited, fault.CodeOverloaded, fault.CodeStorageFull,
	}
)

// codesBut is the whole closed set without some.
func codesBut(others []fault.Code) []fault.Code {
	return slices.DeleteFunc(fault.Codes(), func(c fault.Code) bool { return slices.Contains(others, c) })
}
