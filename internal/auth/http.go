package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/internal/web"
)

const prefix = "/api/v1/auth/"

// Routes adds auth's operations to a router. s may be nil where only the
// documents are wanted.
func Routes(r *web.Router, s *Service) {
	proofRoutes(r, s)
	sessionRoutes(r, s)
	r.Handle(web.Route{
		Service: obs.Auth, Op: "auth.jwks", Method: http.MethodGet, Path: "/.well-known/jwks.json", Access: web.Anyone,
		Summary: "The public keys that verify access tokens (RFC 7517)", Status: http.StatusOK, Fixed: true,
	}, http.HandlerFunc(s.serveJWKS))
}

// route completes a route of this service; its path is below the prefix.
func route(rt web.Route) web.Route {
	rt.Service, rt.Path = obs.Auth, prefix+rt.Path
	return rt
}

// proofRoutes are those by which one gets a session.
func proofRoutes(r *web.Router, s *Service) {
	register := route(web.Route{Op: "auth.register", Method: http.MethodPost, Path: "register", Summary: "Make an account and its first session", Access: web.Anyone, Status: http.StatusCreated, Errors: []fault.Code{fault.CodeInvalid, fault.CodeTooLong, fault.CodeUsernameTaken, fault.CodeRateLimited, fault.CodeAuthBusy}})
	register.Doc = "A user name is 3 to 32 of a-z 0-9 . _ - (upper case is folded), a password 10 to 256 bytes, a display name 1 to 64 characters (by default the user name)."
	register.Limit = s.registrationLimit()
	web.Register(r, register, s.postRegister)

	login := route(web.Route{Op: "auth.login", Method: http.MethodPost, Path: "login", Summary: "Open a session", Access: web.Anyone, Status: http.StatusOK, Errors: []fault.Code{fault.CodeInvalid, fault.CodeTooLong, fault.CodeLoginRefused, fault.CodeLoginThrottled, fault.CodeAuthBusy}})
	login.Doc = "A session that the device had before ends. An unknown account and a wrong password get the same answer."
	web.Register(r, login, s.postLogin)

	refresh := route(web.Route{Op: "auth.refresh", Method: http.MethodPost, Path: "refresh", Summary: "Exchange a refresh token for the next pair", Access: web.Anyone, Status: http.StatusOK, Errors: []fault.Code{fault.CodeUnauthenticated}})
	refresh.Doc = "A refresh token works once. For 10 seconds after its use it answers the same successor again; later its use ends the session."
	web.Register(r, refresh, s.postRefresh)
}

func sessionRoutes(r *web.Router, s *Service) {
	web.Register(r, route(web.Route{Op: "auth.logout", Method: http.MethodPost, Path: "logout", Summary: "End this session", Access: web.SignedIn, Status: http.StatusNoContent}), s.postLogout)
	list := route(web.Route{Op: "auth.sessions", Method: http.MethodGet, Path: "sessions", Summary: "My sessions, the last used first", Access: web.SignedIn, Status: http.StatusOK})
	list.Doc = "There are at most 50, all on one page."
	web.Register(r, list, s.getSessions)
	web.Register(r, route(web.Route{Op: "auth.end_session", Method: http.MethodDelete, Path: "sessions/{id}", Summary: "End one of my sessions", Access: web.SignedIn, Status: http.StatusNoContent, Errors: []fault.Code{fault.CodeBadID, fault.CodeNotFound}}), s.deleteSession)
	web.Register(r, route(web.Route{Op: "auth.end_sessions", Method: http.MethodDelete, Path: "sessions", Summary: "End all my other sessions", Access: web.SignedIn, Status: http.StatusNoContent}), s.deleteSessions)
	web.Register(r, route(web.Route{Op: "auth.ticket", Method: http.MethodPost, Path: "ticket", Summary: "A one-time ticket for a browser's WebSocket", Access: web.SignedIn, Status: http.StatusOK}), s.postTicket)
	change := route(web.Route{Op: "auth.change_verifier", Method: http.MethodPost, Path: "password", Summary: "Change my password", Access: web.SignedIn, Status: http.StatusNoContent, Errors: []fault.Code{fault.CodeInvalid, fault.CodeTooLong, fault.CodeLoginRefused, fault.CodeLoginThrottled, fault.CodeAuthBusy}})
	change.Doc = "All other sessions of the account end."
	web.Register(r, change, s.postPassword)
}

func (s *Service) registrationLimit() *limit.Limiter {
	if s == nil {
		return nil
	}
	return s.registrations
}

// none is the input or output without content.
type none struct{}

type registerInput struct {
	Body struct {
		Username    string     `json:"username" doc:"3 to 32 of a-z 0-9 . _ -"`
		Password    obs.Secret `json:"password" doc:"10 to 256 bytes"`
		DisplayName *string    `json:"display_name,omitempty" doc:"1 to 64 characters"`
		DeviceID    *string    `json:"device_id,omitempty" doc:"1 to 64 of A-Z a-z 0-9 . _ -, within the account; made by the server when left out"`
	}
}

type loginInput struct {
	Body struct {
		Username string     `json:"username"`
		Password obs.Secret `json:"password"`
		DeviceID *string    `json:"device_id,omitempty" doc:"as at the registration"`
	}
}

type refreshInput struct {
	Body struct {
		RefreshToken obs.Secret `json:"refresh_token"`
	}
}

// sessionOutput is the answer to everything that opens or renews a session.
type sessionOutput struct {
	Body struct {
		User         userBody `json:"user"`
		SessionID    string   `json:"session_id"`
		DeviceID     string   `json:"device_id"`
		AccessToken  string   `json:"access_token"`
		ExpiresIn    int64    `json:"expires_in" doc:"seconds"`
		RefreshToken string   `json:"refresh_token"`
	}
}

type userBody struct {
	ID          string `json:"id"`
	Username    string `json:"username"`
	DisplayName string `json:"display_name"`
}

// answer is the one place where what was granted leaves the service.
func (s *Service) answer(g *grant, err error) (*sessionOutput, error) {
	if err != nil {
		return nil, err
	}
	out := &sessionOutput{}
	out.Body.User = userBody{g.account.id, g.account.username, g.account.displayName}
	out.Body.SessionID, out.Body.DeviceID = g.session.id, g.session.device
	out.Body.AccessToken, out.Body.RefreshToken = g.access.Reveal(), g.refresh.Reveal()
	out.Body.ExpiresIn = int64(s.cfg.AccessLife / time.Second)
	return out, nil
}

// given is what a caller said, or "" if the field was left out. One that is
// there and empty is at fault.
func given(field *string, name string) (string, error) {
	if field == nil {
		return "", nil
	}
	if *field == "" {
		return "", fault.OnField(fault.CodeInvalid, name, "at least 1 character, or left out")
	}
	return *field, nil
}

func (s *Service) postRegister(ctx context.Context, in *registerInput) (*sessionOutput, error) {
	display, err := given(in.Body.DisplayName, "display_name")
	if err != nil {
		return nil, err
	}
	device, err := given(in.Body.DeviceID, "device_id")
	if err != nil {
		return nil, err
	}
	return s.answer(s.register(ctx, registration{in.Body.Username, display, device, in.Body.Password}))
}

func (s *Service) postLogin(ctx context.Context, in *loginInput) (*sessionOutput, error) {
	device, err := given(in.Body.DeviceID, "device_id")
	if err != nil {
		return nil, err
	}
	try := attempt{username: in.Body.Username, device: device, password: in.Body.Password}
	return s.answer(s.login(ctx, try, web.ClientAddress(ctx)))
}

func (s *Service) postRefresh(ctx context.Context, in *refreshInput) (*sessionOutput, error) {
	return s.answer(s.rotate(ctx, in.Body.RefreshToken))
}

func (s *Service) postLogout(ctx context.Context, _ *none) (*none, error) {
	return &none{}, s.logout(ctx, token.MustFrom(ctx))
}

type sessionBody struct {
	ID         string `json:"id"`
	DeviceID   string `json:"device_id"`
	CreatedAt  string `json:"created_at"`
	LastUsedAt string `json:"last_used_at" doc:"login or last refresh"`
	Current    bool   `json:"current" doc:"whether this session asks"`
}

type sessionsOutput struct {
	Body struct {
		Items      []sessionBody `json:"items"`
		NextCursor *string       `json:"next_cursor"`
	}
}

func (s *Service) getSessions(ctx context.Context, _ *none) (*sessionsOutput, error) {
	who := token.MustFrom(ctx)
	have, err := s.sessions(ctx, who)
	if err != nil {
		return nil, err
	}
	out := &sessionsOutput{}
	out.Body.Items = make([]sessionBody, len(have))
	for i, x := range have {
		out.Body.Items[i] = sessionBody{x.id, x.device, stamp(x.created), stamp(x.used), x.id == who.SessionID}
	}
	return out, nil
}

type idInput struct {
	ID string `path:"id"`
}

func (s *Service) deleteSession(ctx context.Context, in *idInput) (*none, error) {
	return &none{}, s.endSession(ctx, token.MustFrom(ctx), in.ID)
}

func (s *Service) deleteSessions(ctx context.Context, _ *none) (*none, error) {
	return &none{}, s.endOthers(ctx, token.MustFrom(ctx))
}

type ticketOutput struct {
	Body struct {
		Ticket    string `json:"ticket"`
		ExpiresIn int64  `json:"expires_in" doc:"seconds"`
	}
}

func (s *Service) postTicket(ctx context.Context, _ *none) (*ticketOutput, error) {
	fresh, err := s.ticket(ctx, token.MustFrom(ctx))
	if err != nil {
		return nil, err
	}
	out := &ticketOutput{}
	out.Body.Ticket, out.Body.ExpiresIn = fresh.Reveal(), int64(s.cfg.TicketLife/time.Second)
	return out, nil
}

type passwordInput struct {
	Body struct {
		Old obs.Secret `json:"old"`
		New obs.Secret `json:"new" doc:"10 to 256 bytes"`
	}
}

func (s *Service) postPassword(ctx context.Context, in *passwordInput) (*none, error) {
	return &none{}, s.changePassword(ctx, token.MustFrom(ctx), in.Body.Old, in.Body.New)
}

func (s *Service) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=60")
	_, _ = w.Write(s.ring().jwks) // the client went away
}
