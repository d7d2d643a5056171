package load

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/web"
)

// Session is one signed-in device, as `nova seed` writes it.
type Session struct {
	UserID       string     `json:"user_id"`
	Username     string     `json:"username"`
	DeviceID     string     `json:"device_id"`
	AccessToken  obs.Secret `json:"access_token"`
	RefreshToken obs.Secret `json:"refresh_token,omitzero"` // none in the files of nova seed
}

// ReadSessions reads one JSON object per line.
func ReadSessions(r io.Reader) ([]Session, error) {
	var all []Session
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var s Session
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil || s.UserID == "" || s.AccessToken.Empty() {
			return nil, fmt.Errorf("line %d is no session as `nova seed` writes it", n)
		}
		all = append(all, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	return all, nil
}

// registered is what register, login and refresh answer.
type registered struct {
	User struct {
		ID       string `json:"id"`
		Username string `json:"username"`
	} `json:"user"`
	DeviceID     string     `json:"device_id"`
	AccessToken  obs.Secret `json:"access_token"`
	RefreshToken obs.Secret `json:"refresh_token"`
}

func (r registered) session() Session {
	return Session{r.User.ID, r.User.Username, r.DeviceID, r.AccessToken, r.RefreshToken}
}

// register makes n accounts with names that nobody can guess beforehand.
func register(ctx context.Context, c *web.Client, n int) ([]Session, error) {
	var all []Session
	for i := range n {
		var name [10]byte
		_, _ = rand.Read(name[:])
		handle := "load-" + hex.EncodeToString(name[:])
		var out registered
		_, err := c.Do(ctx, http.MethodPost, "/api/v1/auth/register", map[string]string{
			"username": handle, "password": rand.Text(), "display_name": "Load", "device_id": "load",
		}, &out)
		if fault.Is(err, fault.CodeRateLimited) {
			return nil, &LimitError{Limit: obs.LimitRegistrationsPerAddress, Made: i, Needed: n, err: err}
		}
		if err != nil {
			return nil, fmt.Errorf("register user %d of %d: %w", i+1, n, err)
		}
		all = append(all, out.session())
	}
	return all, nil
}

// LimitError says that the target's limit on registrations was met.
type LimitError struct {
	Limit        obs.Limit
	Made, Needed int
	err          error
}

func (e *LimitError) Error() string {
	return fmt.Sprintf(`registered %d of %d users, then met the limit %s.
Make the accounts straight in the store instead, beside the running server:
    nova seed --data-dir DIR --users %d --prefix load --out sessions.jsonl
    nova load --sessions sessions.jsonl ...
or start the server with a higher %s.`, e.Made, e.Needed, e.Limit, e.Needed, "NOVA_LIMITS_REGISTRATIONS_PER_ADDRESS")
}

func (e *LimitError) Unwrap() error { return e.err }
