package load

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/ws"
)

// socket is one WebSocket to the target; nil = none.
type socket = *ws.Client

// dial opens a socket. A refused upgrade comes back as the fault that the
// problem document names.
func dial(ctx context.Context, url string, bearer obs.Secret) (socket, error) {
	header := http.Header{"Authorization": {"Bearer " + bearer.Reveal()}}
	s, err := ws.Dial(ctx, url, ws.DialOptions{Header: header})
	if refused, ok := errors.AsType[*ws.RefusedError](err); ok {
		return nil, readProblem(refused)
	}
	return s, err
}

func readProblem(refused *ws.RefusedError) error {
	var p struct {
		Code         string `json:"code"`
		Detail       string `json:"detail"`
		RetryAfterMS int64  `json:"retry_after_ms"`
	}
	if json.Unmarshal(refused.Body, &p) != nil {
		return refused
	}
	code, ok := fault.ParseCode(p.Code)
	if !ok {
		return refused
	}
	return fault.Wrap(code, refused, p.Detail).After(time.Duration(p.RetryAfterMS) * time.Millisecond)
}

// terminal says whether a client has no use in coming back after err.
func terminal(err error) bool {
	if c, ok := errors.AsType[*ws.CloseError](err); ok {
		return !c.Resumable()
	}
	return fault.Is(err, fault.CodeUnauthenticated) || fault.Is(err, fault.CodeForbidden) || fault.Is(err, fault.CodeBadSubprotocol)
}
