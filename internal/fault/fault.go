package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Error is a failure that may cross a boundary. Detail and Fields are shown to
// the caller; the cause is for the log alone.
type Error struct {
	Code       Code
	Detail     string        // one sentence, safe to show; may be empty
	Fields     []Field       // the request fields at fault, if any
	RetryAfter time.Duration // when repeating makes sense; 0 = not said
	cause      error
}

// Field is one part of a request that was at fault. It never holds the value.
type Field struct {
	Name   string `json:"field"`  // path of the field, such as "member_ids[2]"
	Detail string `json:"detail"` // what would be right
}

// New makes a fault without a cause.
func New(code Code, detail string) *Error { return &Error{Code: code, Detail: detail} }

// Newf is [New] with a formatted detail; the arguments must be safe to show.
func Newf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault with a cause that only the log sees.
func Wrap(code Code, cause error, detail string) *Error {
	return &Error{Code: code, Detail: detail, cause: cause}
}

// OnField makes a fault about one field of the request.
func OnField(code Code, field, detail string) *Error {
	return &Error{Code: code, Detail: field + ": " + detail, Fields: []Field{{Name: field, Detail: detail}}}
}

// BadID makes a fault about a field that must hold an identifier.
func BadID(field string) *Error {
	return OnField(CodeBadID, field, "must be an identifier as the server gave it")
}

// After returns a copy that says when to repeat.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Error is for logs: the code, the detail and the cause.
func (e *Error) Error() string {
	s := e.Code.String()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, fault.New(code, "")) compare codes.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Detail == "" && t.cause == nil
}

// From turns any error into a fault: a fault in the chain stays what it is, the
// ends of a context become [CodeTimeout] and [CodeCanceled], all else is
// [CodeInternal] with the error as cause. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(CodeTimeout, err, "")
	case errors.Is(err, context.Canceled):
		return Wrap(CodeCanceled, err, "")
	}
	return Wrap(CodeInternal, err, "")
}

// CodeOf is From(err).Code; err must not be nil.
func CodeOf(err error) Code { return From(err).Code }

// Is says whether err carries that code.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }
