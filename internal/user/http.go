package user

import (
	"context"
	"net/http"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/web"
)

const prefix = "/api/v1/users"

// Routes adds the service's operations to a router. s may be nil where only the
// documents are wanted.
func Routes(r *web.Router, s *Service) {
	web.Register(r, route("user.me", http.MethodGet, "/me", "My profile"), s.getMe)
	web.Register(r, route("user.update_me", http.MethodPatch, "/me", "Change my profile",
		fault.CodeInvalid, fault.CodeTooLong), s.patchMe)
	web.Register(r, route("user.get", http.MethodGet, "/{id}", "Somebody's profile",
		fault.CodeBadID, fault.CodeNotFound), s.getUser)
	search := route("user.search", http.MethodGet, "", "Find people", fault.CodeInvalid, fault.CodeTooLong, fault.CodeBadCursor)
	search.Doc = "Finds user names and display names that hold the text, upper and lower case alike, in the order of user names. Somebody who registered this moment may be missing."
	web.Register(r, search, s.getUsers)
}

func route(op, method, path, summary string, errors ...fault.Code) web.Route {
	return web.Route{
		Service: obs.User, Op: op, Method: method, Path: prefix + path, Access: web.SignedIn,
		Summary: summary, Status: http.StatusOK, Errors: errors,
	}
}

type none struct{}

type profileBody struct {
	ID          string `json:"id"`
	Username    string `json:"username"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

type profileOutput struct{ Body profileBody }

func (p profile) body() profileBody {
	return profileBody{p.id, p.username, p.displayName, p.created.UTC().Format("2006-01-02T15:04:05.000Z")}
}

func answer(p profile, err error) (*profileOutput, error) {
	if err != nil {
		return nil, err
	}
	return &profileOutput{p.body()}, nil
}

func (s *Service) getMe(ctx context.Context, _ *none) (*profileOutput, error) {
	return answer(s.get(ctx, token.MustFrom(ctx).UserID))
}

type patchInput struct {
	Body struct {
		DisplayName *string `json:"display_name,omitempty" doc:"1 to 64 characters"`
	}
}

func (s *Service) patchMe(ctx context.Context, in *patchInput) (*profileOutput, error) {
	me := token.MustFrom(ctx).UserID
	if in.Body.DisplayName == nil {
		return answer(s.get(ctx, me))
	}
	return answer(s.rename(ctx, me, *in.Body.DisplayName))
}

type idInput struct {
	ID string `path:"id"`
}

func (s *Service) getUser(ctx context.Context, in *idInput) (*profileOutput, error) {
	return answer(s.get(ctx, in.ID))
}

type searchInput struct {
	Query  string `query:"q" doc:"1 to 64 characters to look for"`
	Cursor string `query:"cursor"`
	Limit  int    `query:"limit" default:"20" doc:"clamped to 1 to 100"`
}

type searchOutput struct {
	Body struct {
		Items      []profileBody `json:"items"`
		NextCursor *string       `json:"next_cursor"`
	}
}

func (s *Service) getUsers(ctx context.Context, in *searchInput) (*searchOutput, error) {
	p, err := s.search(ctx, in.Query, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &searchOutput{}
	out.Body.Items = make([]profileBody, len(p.items))
	for i, one := range p.items {
		out.Body.Items[i] = one.body()
	}
	if p.next != "" {
		out.Body.NextCursor = &p.next
	}
	return out, nil
}
