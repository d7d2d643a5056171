package web

import (
	"bytes"
	"cmp"
	stdjson "encoding/json" // the document's types write themselves with it
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

const intro = `Everything that a client can ask of Nova over HTTP. Bodies are JSON; every error is a problem document with a code from a closed set.
Real-time events come over the WebSocket at /api/v1/ws.`

// newAPI makes the huma API of a router, with everything off that huma would
// serve by itself.
func newAPI(r *Router) huma.API {
	schemas := huma.NewMapRegistry("#/components/schemas/", r.schemaName)
	schemas.RegisterTypeAlias(reflect.TypeFor[jsontext.Value](), reflect.TypeFor[stdjson.RawMessage]())
	return huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Nova", Version: cmp.Or(r.cfg.Version, "dev"), Description: intro, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
			Servers: []*huma.Server{{URL: "/", Description: "Wherever this document was read from."}},
			Components: &huma.Components{
				Schemas:  schemas,
				Examples: exampleProblems(),
				SecuritySchemes: map[string]*huma.SecurityScheme{bearerScheme: {
					Type: "http", Scheme: "bearer", BearerFormat: "JWT",
					Description: "The access_token of register, login or refresh.",
				}},
			},
		},
		// huma writes its errors in the second form, into a reply that is dropped.
		Formats:                      map[string]huma.Format{"application/json": jsonFormat, problemType: jsonFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{catch},
	}, adapter{r})
}

const bearerScheme = "bearer"

// schemaName keeps equal names of different services apart.
func (r *Router) schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	owner := t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:]
	if t.PkgPath() == "" && r.adding != nil {
		owner = r.adding.route.Service.String()
	}
	if _, isService := obs.ParseService(owner); !isService {
		return name
	}
	prefix := strings.ToUpper(owner[:1]) + owner[1:]
	if strings.HasPrefix(name, prefix) {
		return name
	}
	return prefix + name
}

// operation describes a route to huma.
func (r *Router) operation(rt Route, hasBody bool) huma.Operation {
	op := huma.Operation{
		OperationID: rt.Op, Method: rt.Method, Path: rt.Path, Summary: rt.Summary, Description: rt.Doc,
		Tags: []string{rt.Service.String()}, DefaultStatus: rt.Status, Responses: r.responses(codesOf(rt, hasBody)),
		// The edge reads and checks the body before huma sees it.
		SkipValidateBody: true, MaxBodyBytes: -1, BodyReadTimeout: -1,
	}
	switch rt.Access {
	case SignedIn:
		op.Security = []map[string][]string{{bearerScheme: {}}}
	case Optional:
		op.Security = []map[string][]string{{bearerScheme: {}}, {}}
	default: // open to anyone
	}
	return op
}

var pathParameter = regexp.MustCompile(`\{([a-z_]+)\}`)

// describe puts a raw route of the API into the document.
func (r *Router) describe(rt Route) {
	if rt.Summary == "" || !isAPI(rt.Path) {
		return
	}
	op := r.operation(rt, false)
	for _, found := range pathParameter.FindAllStringSubmatch(rt.Path, -1) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: found[1], In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	op.Responses[strconv.Itoa(rt.Status)] = &huma.Response{Description: http.StatusText(rt.Status)}
	r.api.OpenAPI().AddOperation(&op)
}

// codesOf lists what a route can be answered with, beside success.
func codesOf(rt Route, hasBody bool) []fault.Code {
	all := append(slices.Clone(rt.Errors), fault.CodeBadRequest, fault.CodeUnknownField, fault.CodeTokenInURL,
		fault.CodeInternal, fault.CodeUnavailable, fault.CodeTimeout)
	if strings.Contains(rt.Path, "{") {
		all = append(all, fault.CodeBadID, fault.CodeNotFound)
	}
	if hasBody {
		all = append(all, fault.CodeTooLarge, fault.CodeUnsupportedMediaType, fault.CodeInvalid, fault.CodeTooLong)
	}
	if rt.Access == SignedIn {
		all = append(all, fault.CodeUnauthenticated, fault.CodeRateLimited)
	}
	if rt.Limit != nil {
		all = append(all, fault.CodeRateLimited)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// responses documents errors, one response for each status.
func (r *Router) responses(codes []fault.Code) map[string]*huma.Response {
	schema := r.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[problem](), true, "")
	byStatus := map[string]*huma.Response{}
	for _, code := range codes {
		status := strconv.Itoa(StatusOf(code))
		resp := byStatus[status]
		if resp == nil {
			resp = &huma.Response{
				Content:    map[string]*huma.MediaType{problemType: {Schema: schema, Examples: map[string]*huma.Example{}}},
				Extensions: map[string]any{"x-codes": []string{}},
			}
			byStatus[status] = resp
		}
		name := code.String()
		resp.Extensions["x-codes"] = append(resp.Extensions["x-codes"].([]string), name)
		resp.Content[problemType].Examples[name] = &huma.Example{Ref: "#/components/examples/" + name}
		resp.Description = strings.TrimPrefix(resp.Description+", `"+name+"`", ", ")
	}
	return byStatus
}

func exampleProblems() map[string]*huma.Example {
	all := map[string]*huma.Example{}
	for _, c := range fault.Codes() {
		all[c.String()] = &huma.Example{Summary: c.Title(), Value: exampleProblem(c)}
	}
	return all
}

func exampleProblem(code fault.Code) any {
	f := fault.New(code, "")
	p := map[string]any{
		"type": "/errors/" + code.String(), "title": code.Title(), "status": StatusOf(code), "code": code.String(),
		"detail": code.Remedy(), "correlation_id": "01JD9XQ4ZB6T3N8V5WMR2C7KHE", "retryable": code.Retryable(),
	}
	if after := retryAfter(f); after > 0 {
		p["retry_after_ms"] = after.Milliseconds()
	}
	return p
}

// OpenAPI gives the document (OpenAPI 3.1, JSON). The first call fixes it, so
// all routes must have been added.
func (r *Router) OpenAPI() ([]byte, error) { return r.document() }

func (r *Router) makeDocument() ([]byte, error) {
	doc := r.api.OpenAPI()
	for _, e := range r.entries {
		for _, ep := range e.methods {
			r.complete(doc.Paths[ep.route.Path], ep.route)
		}
	}
	// huma adds its own form of errors to every document; nothing refers to it.
	schemas := doc.Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	for _, s := range schemas {
		neverNull(s)
	}
	if p := schemas["Problem"]; p != nil {
		p.Properties["code"].Enum = codeNames()
	}
	b, err := stdjson.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	if err := stdjson.Compact(&out, b); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	return out.Bytes(), nil
}

// neverNull takes back that lists may be null, which huma says of every slice:
// an empty one is written as [], and null is refused.
func neverNull(s *huma.Schema) {
	if s == nil {
		return
	}
	if s.Type == huma.TypeArray {
		s.Nullable = false
	}
	neverNull(s.Items)
	for _, p := range s.Properties {
		neverNull(p)
	}
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		neverNull(more)
	}
}

func codeNames() []any {
	var names []any
	for _, c := range fault.Codes() {
		names = append(names, c.String())
	}
	return names
}

// complete adds what follows from the finished operation: other statuses of
// success, and examples.
func (r *Router) complete(item *huma.PathItem, rt Route) {
	op := operationOf(item, rt.Method)
	if op == nil {
		return
	}
	registry := r.api.OpenAPI().Components.Schemas
	if op.RequestBody != nil {
		for _, media := range op.RequestBody.Content {
			media.Example = exampleOf(registry, media.Schema, 0)
		}
	}
	success := op.Responses[strconv.Itoa(op.DefaultStatus)]
	if success == nil {
		return
	}
	for _, media := range success.Content {
		media.Example = exampleOf(registry, media.Schema, 0)
	}
	for _, status := range rt.AlsoStatus {
		also := *success
		also.Description = http.StatusText(status)
		op.Responses[strconv.Itoa(status)] = &also
	}
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	if item == nil {
		return nil
	}
	return map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
		http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}[method]
}

// exampleOf makes an example value from the examples of a schema's parts.
func exampleOf(registry huma.Registry, s *huma.Schema, depth int) any {
	if s == nil || depth > 6 {
		return nil
	}
	if s.Ref != "" {
		return exampleOf(registry, registry.SchemaFromRef(s.Ref), depth+1)
	}
	switch {
	case len(s.Examples) > 0:
		return s.Examples[0]
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Format == "date-time":
		return "2026-11-23T09:30:00.000Z"
	}
	switch s.Type {
	case huma.TypeObject:
		out := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			out[name] = exampleOf(registry, s.Properties[name], depth+1)
		}
		return out
	case huma.TypeArray:
		return []any{exampleOf(registry, s.Items, depth+1)}
	case huma.TypeString:
		return "string"
	case huma.TypeInteger, huma.TypeNumber:
		return 1
	case huma.TypeBoolean:
		return true
	}
	return nil
}
