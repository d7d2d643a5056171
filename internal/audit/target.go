package audit

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/web"
)

// target is the deployment, and what the audit has made in it.
type target struct {
	opts   Options
	obs    *obs.Obs
	group  *run.Group
	public *web.Client
	admins []*web.Client
	logs   *logFolder // nil without a log folder
	serial int
	people []*device // see account
}

func newTarget(o *obs.Obs, g *run.Group, opts Options) (*target, error) {
	t := &target{opts: opts, obs: o, group: g}
	var err error
	if t.public, err = web.NewClient(opts.Public, web.ClientOptions{Timeout: 15 * time.Second}); err != nil {
		return nil, fmt.Errorf("public: %w", err)
	}
	for _, base := range opts.Admins {
		admin, err := web.NewClient(base, web.ClientOptions{Timeout: 15 * time.Second})
		if err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
		t.admins = append(t.admins, admin)
	}
	if opts.LogDir != "" {
		t.logs, err = openLogs(opts.LogDir)
	}
	return t, err
}

func (t *target) close() {
	t.public.Close()
	for _, admin := range t.admins {
		admin.Close()
	}
}

// reachable says why nothing can be judged, nil if it can.
func (t *target) reachable(ctx context.Context) error {
	if _, err := t.public.Do(ctx, http.MethodGet, "/readyz", nil, nil); err != nil {
		return cannot("%s/readyz: %v", t.opts.Public, err)
	}
	if _, err := t.scrape(ctx); err != nil {
		return cannot("%v", err)
	}
	return nil
}

func (t *target) version(ctx context.Context) string {
	var build struct {
		Version string `json:"version"`
	}
	if _, err := t.admins[0].Do(ctx, http.MethodGet, "/build", nil, &build); err != nil {
		return ""
	}
	return build.Version
}

// name makes something that nobody else uses.
func (t *target) name(what string) string {
	t.serial++
	return fmt.Sprintf("audit-%s-%s-%d", what, strings.ToLower(id.New()[16:]), t.serial)
}

// device is a signed-in device of a probe account.
type device struct {
	t                          *target
	user, name, device, phrase string
	session                    string
	access, refresh            obs.Secret
	renewed                    time.Time
	accessFor                  time.Duration
}

// granted is what register, login and refresh answer.
type granted struct {
	User struct {
		ID       string `json:"id"`
		Username string `json:"username"`
	} `json:"user"`
	SessionID    string     `json:"session_id"`
	DeviceID     string     `json:"device_id"`
	AccessToken  obs.Secret `json:"access_token"`
	RefreshToken obs.Secret `json:"refresh_token"`
	ExpiresIn    int        `json:"expires_in"`
}

func (d *device) take(g granted) {
	d.user, d.session, d.device = g.User.ID, g.SessionID, g.DeviceID
	d.access, d.refresh = g.AccessToken, g.RefreshToken
	d.renewed, d.accessFor = time.Now(), time.Duration(g.ExpiresIn)*time.Second
}

// register makes an account with one device.
func (t *target) register(ctx context.Context) (*device, error) {
	d := &device{t: t, name: t.name("p"), phrase: rand.Text()}
	var g granted
	_, err := t.public.Do(ctx, http.MethodPost, "/api/v1/auth/register",
		map[string]string{"username": d.name, "password": d.phrase, "display_name": "Audit", "device_id": "audit"}, &g)
	if fault.Is(err, fault.CodeRateLimited) {
		return nil, cannot("the limit registrations_per_address is met: wait, or raise NOVA_LIMITS_REGISTRATIONS_PER_ADDRESS")
	}
	if err != nil {
		return nil, fmt.Errorf("register a probe account: %w", err)
	}
	d.take(g)
	return d, nil
}

// login opens a session on another device of the same account.
func (d *device) login(ctx context.Context, name string) (*device, error) {
	other := &device{t: d.t, name: d.name, phrase: d.phrase}
	var g granted
	_, err := d.t.public.Do(ctx, http.MethodPost, "/api/v1/auth/login",
		map[string]string{"username": d.name, "password": d.phrase, "device_id": name}, &g)
	if fault.Is(err, fault.CodeLoginThrottled) {
		return nil, cannot("the limit logins_per_address is met: wait a minute")
	}
	if err != nil {
		return nil, fmt.Errorf("log a probe account in: %w", err)
	}
	other.take(g)
	return other, nil
}

// accounts gives the first n probe accounts, which all checks share, with
// access that is good for some minutes.
func (t *target) accounts(ctx context.Context, n int) ([]*device, error) {
	for len(t.people) < n {
		d, err := t.register(ctx)
		if err != nil {
			return nil, err
		}
		t.people = append(t.people, d)
	}
	for _, d := range t.people[:n] {
		if err := d.renew(ctx); err != nil {
			return nil, err
		}
	}
	return t.people[:n], nil
}

// renew refreshes the access unless most of its time is left.
func (d *device) renew(ctx context.Context) error {
	if time.Since(d.renewed) < d.accessFor/4 {
		return nil
	}
	var g granted
	_, err := d.t.public.Do(ctx, http.MethodPost, "/api/v1/auth/refresh", map[string]string{"refresh_token": d.refresh.Reveal()}, &g)
	if err != nil {
		return fmt.Errorf("refresh a probe account: %w", err)
	}
	d.take(g)
	return nil
}

// do makes a REST call below /api/v1 as the device.
func (d *device) do(ctx context.Context, method, path string, in, out any) error {
	_, err := d.t.public.As(d.access).Do(ctx, method, "/api/v1/"+path, in, out)
	return err
}

// converse makes a conversation with others; with a name it is a group.
func (d *device) converse(ctx context.Context, name string, others ...*device) (string, error) {
	in := map[string]any{"kind": "direct"}
	if name != "" {
		in["kind"], in["name"] = "group", name
	}
	var members []string
	for _, o := range others {
		members = append(members, o.user)
	}
	in["member_ids"] = members
	var out struct {
		ID string `json:"id"`
	}
	if err := d.do(ctx, http.MethodPost, "conversations", in, &out); err != nil {
		return "", fmt.Errorf("make a conversation: %w", err)
	}
	return out.ID, nil
}

// message is the message object of the protocol, as far as the audit reads it.
type message struct {
	ID             string `json:"id"`
	ConversationID string `json:"conversation_id"`
	Seq            int64  `json:"seq"`
	SenderID       string `json:"sender_id"`
	ClientMsgID    string `json:"client_msg_id"`
	Body           string `json:"body"`
}

// post sends a message over REST and gives the answer with its correlation ID.
func (d *device) post(ctx context.Context, conversation, client, body string) (m message, cid string, err error) {
	raw, err := json.Marshal(map[string]string{"conversation_id": conversation, "client_msg_id": client, "body": body})
	if err != nil {
		return m, "", err
	}
	a, err := d.t.public.As(d.access).Raw(ctx, http.MethodPost, "/api/v1/messages", http.Header{"Content-Type": {"application/json"}}, raw)
	if err != nil {
		return m, "", err
	}
	cid = a.Header.Get("X-Correlation-ID")
	if a.Status != http.StatusOK && a.Status != http.StatusCreated {
		return m, cid, a.Fault()
	}
	if err := json.Unmarshal(a.Body, &m); err != nil {
		return m, cid, fmt.Errorf("the answer to a message is no message: %w", err)
	}
	return m, cid, nil
}

// history reads a conversation's log from its beginning.
func (d *device) history(ctx context.Context, conversation string) (all []message, err error) {
	query := "after_seq=0&limit=100"
	for {
		var page struct {
			Items      []message `json:"items"`
			NextCursor *string   `json:"next_cursor"`
		}
		if err := d.do(ctx, http.MethodGet, "conversations/"+conversation+"/messages?"+query, nil, &page); err != nil {
			return nil, fmt.Errorf("read the log of a conversation: %w", err)
		}
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			return all, nil
		}
		query = "limit=100&cursor=" + *page.NextCursor
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait asks again and again until the answer is yes or the time is over; it
// gives the last answer.
func wait(ctx context.Context, within time.Duration, yes func() (bool, error)) (bool, error) {
	const every = 25 * time.Millisecond
	for end := time.Now().Add(within); ; {
		ok, err := yes()
		if err != nil || ok || time.Now().After(end) {
			return ok, err
		}
		if err := pause(ctx, every); err != nil {
			return false, err
		}
	}
}
