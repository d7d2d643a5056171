package web

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-json-experiment/json"

	"github.com/nova-chat/nova/internal/fault"
)

// Register adds an operation to a router.
//
// I is a struct whose fields say what the operation takes: `path:"id"`,
// `query:"limit"`, `header:"Idempotency-Key"` for parameters, and a field Body
// for the JSON body; a Body that is a pointer may be left out. O is a struct
// with what it answers: a field Body, an int field Status when there is a
// choice, and `header:"..."` fields. Tags such as minLength, maxLength, minimum,
// enum, pattern, doc and example both check requests and document them;
// lengths count characters.
//
// h runs with a deadline and gets an input that is readable and fits its tags.
// An error of h is answered as the fault it is.
func Register[I, O any](r *Router, rt Route, h func(ctx context.Context, in *I) (*O, error)) {
	if _, answers := reflect.TypeFor[O]().FieldByName("Body"); rt.Status == 0 && answers {
		rt.Status = http.StatusOK
	} else if rt.Status == 0 {
		rt.Status = http.StatusNoContent
	}
	ep := r.add(rt)
	r.adding = ep
	_, hasBody := reflect.TypeFor[I]().FieldByName("Body")
	huma.Register(r.api, r.operation(ep.route, hasBody), func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err == nil {
			return out, nil
		}
		if rep, ok := ctx.Value(replyKey{}).(*reply); ok {
			rep.fail(err)
		}
		return nil, nil // the reply knows: see adapter.Handle
	})
	r.adding = nil
}

// adapter lets huma add its operations to a [Router]. huma binds parameters,
// runs the function and writes JSON; what it would do with bodies and errors
// happens around it, because its ways cannot be made strict.
type adapter struct{ router *Router }

// ServeHTTP is part of huma.Adapter.
func (a adapter) ServeHTTP(w http.ResponseWriter, req *http.Request) { a.router.ServeHTTP(w, req) }

// Handle is part of huma.Adapter. huma calls it once for each operation.
func (a adapter) Handle(op *huma.Operation, next func(huma.Context)) {
	ep := a.router.adding
	want, required := a.router.bodyShape(op)
	ep.handle = func(w http.ResponseWriter, req *http.Request) {
		body, err := ep.readBody(w, req, want, required)
		if err != nil {
			Problem(w, req, err)
			return
		}
		rep := &reply{header: http.Header{}}
		ctx, cancel := context.WithTimeout(context.WithValue(req.Context(), replyKey{}, rep), ep.router.cfg.HandlerTimeout)
		defer cancel()
		inner := req.WithContext(ctx)
		inner.Header.Del("Accept") // there is one form of answer, and of body
		inner.Header.Set("Content-Type", "application/json")
		inner.Body = io.NopCloser(bytes.NewReader(body))
		next(humago.NewContext(op, inner, rep))
		rep.send(w, req, ep.route.Status)
	}
}

// bodyShape is what the operation's body must look like, nil if it has none.
func (r *Router) bodyShape(op *huma.Operation) (want *shape, required bool) {
	if op.RequestBody == nil {
		return nil, false
	}
	media := op.RequestBody.Content["application/json"]
	if media == nil || media.Schema == nil {
		panic("operation " + op.OperationID + ": a body must be JSON; use Handle for others")
	}
	m := &shaper{registry: r.api.OpenAPI().Components.Schemas, refs: map[string]*shape{}}
	return m.shape(media.Schema), op.RequestBody.Required
}

type replyKey struct{}

// reply is an answer that is being made. It is sent only once it is complete,
// so that a failure can still become a problem document.
type reply struct {
	header http.Header
	body   bytes.Buffer
	status int
	err    error
}

// Header is part of http.ResponseWriter.
func (p *reply) Header() http.Header { return p.header }

// Write is part of http.ResponseWriter.
func (p *reply) Write(b []byte) (int, error) { return p.body.Write(b) }

// WriteHeader is part of http.ResponseWriter.
func (p *reply) WriteHeader(status int) { p.status = status }

func (p *reply) fail(err error) { p.err = err }

func (p *reply) send(w http.ResponseWriter, req *http.Request, usual int) {
	if p.err != nil {
		Problem(w, req, p.err)
		return
	}
	maps.Copy(w.Header(), p.header)
	if p.status == 0 {
		p.status = usual
	}
	if p.status != http.StatusNoContent && p.status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(p.body.Len()))
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body.Bytes()) // nobody is left to be told
}

// jsonFormat reads and writes bodies for huma. What it reads has been checked.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error { return json.MarshalWrite(w, v, json.Deterministic(true)) },
	Unmarshal: func(data []byte, v any) error {
		return json.Unmarshal(data, v, json.RejectUnknownMembers(true))
	},
}

// catch turns the errors that huma makes itself, all of them about parameters,
// into faults. It is a transformer: huma calls it with every body it writes.
func catch(ctx huma.Context, _ string, v any) (any, error) {
	if m, ok := v.(*huma.ErrorModel); ok {
		_, w := humago.Unwrap(ctx)
		if rep, ok := w.(*reply); ok {
			rep.fail(parameterFault(m))
		}
	}
	return v, nil
}

// parameterFault reads huma's errors as codes. Their values are left behind;
// their messages hold none up to the first colon.
func parameterFault(m *huma.ErrorModel) *fault.Error {
	var fields []fault.Field
	code := fault.CodeInvalid
	for _, e := range m.Errors {
		where, name, _ := strings.Cut(e.Location, ".")
		if name == "" {
			where, name = "body", e.Location
		}
		detail, _, _ := strings.Cut(e.Message, ":")
		if where == "body" { // a type refused what fits its schema
			detail = "does not fit its documented form"
		}
		fields = append(fields, fault.Field{Name: name[:min(len(name), maxName)], Detail: strings.TrimPrefix(detail, "expected ")})
		code = sterner(code, parameterCode(where, detail))
	}
	if len(fields) == 0 {
		return fault.New(fault.CodeBadRequest, "")
	}
	return onFields(code, fields)
}

func parameterCode(where, message string) fault.Code {
	switch {
	case message == "unknown query parameter":
		return fault.CodeUnknownField
	case where == "path":
		return fault.CodeBadID
	case where == "body", strings.HasPrefix(message, "invalid "):
		return fault.CodeBadRequest
	case strings.HasPrefix(message, "expected length <="):
		return fault.CodeTooLong
	}
	return fault.CodeInvalid
}

// sterner is the code that an answer has when both apply: what cannot be read
// comes before what is not allowed.
func sterner(a, b fault.Code) fault.Code {
	if StatusOf(b) < StatusOf(a) || a == fault.CodeInvalid {
		return b
	}
	return a
}
