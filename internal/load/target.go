package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/web"
)

// target is the REST side of the deployment, or of one node of it.
type target struct{ nodes []*web.Client }

// only is one node.
func (t target) only(node int) target { return target{t.nodes[node : node+1]} }

// first is where calls go that are made once.
func (t target) first() *web.Client { return t.nodes[0] }

func (t target) close() {
	for _, n := range t.nodes {
		n.Close()
	}
}

// restTries is how often a REST call is made before its error counts.
const restTries = 8

// do makes a call and repeats it, with the same identifiers, on one node after
// the other, while the answer says that this can help.
func (t target) do(ctx context.Context, s Session, method, path string, in, out any) error {
	wait := 100 * time.Millisecond
	for try := 1; ; try++ {
		_, err := t.nodes[(try-1)%len(t.nodes)].As(s.AccessToken).Do(ctx, method, path, in, out)
		if err == nil {
			return nil
		}
		f := fault.From(err)
		if try == restTries || !f.Code.Retryable() || ctx.Err() != nil {
			return err
		}
		if !sleep(ctx, max(wait, f.RetryAfter)) {
			return err
		}
		wait = min(2*wait, 2*time.Second)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

type conversationBody struct {
	Kind      string   `json:"kind"`
	Name      string   `json:"name,omitempty"`
	MemberIDs []string `json:"member_ids"`
}

// converse makes a conversation (for two: gets it if it is there already) and
// gives its id and last sequence.
func (t target) converse(ctx context.Context, members []Session, group bool) (string, int64, error) {
	in := conversationBody{Kind: "direct"}
	if group {
		in.Kind, in.Name = "group", "Load"
	}
	for _, m := range members[1:] {
		in.MemberIDs = append(in.MemberIDs, m.UserID)
	}
	var out struct {
		ID      string `json:"id"`
		LastSeq int64  `json:"last_seq"`
	}
	if err := t.do(ctx, members[0], http.MethodPost, "/api/v1/conversations", in, &out); err != nil {
		return "", 0, fmt.Errorf("make a conversation: %w", err)
	}
	return out.ID, out.LastSeq, nil
}

const pageSize = 100

// history reads the log above after, in ascending order, page by page.
// readers take turns, since each has its own limit; a page begins where the
// last one ended, since a cursor is good for the reader alone who got it.
func (t target) history(ctx context.Context, readers []Session, id string, after int64, page func([]logged)) error {
	for n := 0; ; n++ {
		var out struct {
			Items      []logged `json:"items"`
			NextCursor *string  `json:"next_cursor"`
		}
		path := fmt.Sprintf("/api/v1/conversations/%s/messages?after_seq=%d&limit=%d", url.PathEscape(id), after, pageSize)
		if err := t.do(ctx, readers[n%len(readers)], http.MethodGet, path, nil, &out); err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		page(out.Items)
		if out.NextCursor == nil || len(out.Items) == 0 {
			return nil
		}
		after = out.Items[len(out.Items)-1].Seq
	}
}

// refresh gives a session a new access token.
func (t target) refresh(ctx context.Context, s Session) (Session, error) {
	if s.RefreshToken.Empty() {
		return s, fault.New(fault.CodeUnauthenticated, "the session is not accepted any more, and cannot be renewed")
	}
	var out registered
	in := map[string]string{"refresh_token": s.RefreshToken.Reveal()}
	if _, err := t.first().Do(ctx, http.MethodPost, "/api/v1/auth/refresh", in, &out); err != nil {
		return s, fmt.Errorf("refresh: %w", err)
	}
	return out.session(), nil
}

// version is the version of the target as its API document says; "" if it
// does not.
func (t target) version(ctx context.Context) string {
	answer, err := t.first().Raw(ctx, http.MethodGet, "/openapi.json", nil, nil)
	if err != nil || answer.Status != http.StatusOK {
		return ""
	}
	var doc struct {
		Info struct {
			Version string `json:"version"`
		} `json:"info"`
	}
	if json.Unmarshal(answer.Body, &doc) != nil {
		return ""
	}
	return doc.Info.Version
}
