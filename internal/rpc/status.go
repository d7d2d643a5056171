package rpc

import (
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/nova-chat/nova/internal/fault"
)

// domain marks an ErrorInfo as ours, so that a proxy's is not taken for a fault.
const domain = "nova"

// statuses is the gRPC status of each kind. It is for tools that look at the
// wire; between our services the code itself crosses.
var statuses = [...]codes.Code{
	fault.Invalid:         codes.InvalidArgument,
	fault.Unprocessable:   codes.InvalidArgument,
	fault.Unauthenticated: codes.Unauthenticated,
	fault.Denied:          codes.PermissionDenied,
	fault.NotFound:        codes.NotFound,
	fault.Conflict:        codes.Aborted,
	fault.Exhausted:       codes.ResourceExhausted,
	fault.Unsupported:     codes.Unimplemented,
	fault.Timeout:         codes.DeadlineExceeded,
	fault.Canceled:        codes.Canceled,
	fault.Unavailable:     codes.Unavailable,
	fault.Internal:        codes.Internal,
}

// internalText is all that crosses of an error of the kind internal.
const internalText = "internal error"

// errNoMethod is deliberately no fault: a method that one node calls and the
// other lacks is a defect of the deployment, and must not reach a client as its
// own mistake.
var errNoMethod = status.Error(codes.Unimplemented, "no such method")

// toStatus makes what crosses the wire of a fault: never its cause.
func toStatus(f *fault.Error) error {
	text := f.Detail
	if f.Code.Kind() == fault.Internal {
		text = internalText
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: f.Code.String(), Domain: domain}}
	if f.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	if len(f.Fields) > 0 {
		details = append(details, badRequest(f.Fields))
	}
	s := status.New(statuses[f.Code.Kind()], text)
	full, err := s.WithDetails(details...)
	if err != nil { // a detail that is not UTF-8: the code must not be lost over it
		return toStatus(fault.New(f.Code, ""))
	}
	return full.Err()
}

func badRequest(fields []fault.Field) *errdetails.BadRequest {
	b := &errdetails.BadRequest{}
	for _, f := range fields {
		b.FieldViolations = append(b.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f.Name, Description: f.Detail})
	}
	return b
}

// errElsewhere is the cause of an internal error that the called service has
// logged, under the same correlation ID.
var errElsewhere = errors.New("the called service failed and has logged why")

// fromStatus gives the fault that a call ended with.
func fromStatus(err error) *fault.Error {
	s, ok := status.FromError(err)
	if !ok {
		return fault.From(err)
	}
	code, ours := codeOf(s)
	if !ours {
		return fault.Wrap(transportCode(s.Code()), err, "")
	}
	if code.Kind() == fault.Internal {
		return fault.Wrap(code, errElsewhere, "")
	}
	f := fault.New(code, s.Message())
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.RetryInfo:
			f.RetryAfter = d.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				f.Fields = append(f.Fields, fault.Field{Name: v.GetField(), Detail: v.GetDescription()})
			}
		}
	}
	return f
}

func codeOf(s *status.Status) (code fault.Code, ours bool) {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			return fault.ParseCode(info.GetReason())
		}
	}
	return fault.CodeInternal, false
}

// transportCode is for a status that no service of ours gave: the connection,
// the library, or a newer node with a code that this one does not know.
func transportCode(c codes.Code) fault.Code {
	switch c {
	case codes.Unavailable:
		return fault.CodeUnavailable
	case codes.DeadlineExceeded:
		return fault.CodeTimeout
	case codes.Canceled:
		return fault.CodeCanceled
	case codes.ResourceExhausted:
		return fault.CodeTooLarge
	default:
		return fault.CodeInternal
	}
}
