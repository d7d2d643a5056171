package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// ClientOptions are the knobs of a [Client].
type ClientOptions struct {
	Timeout     time.Duration // of a whole exchange; default 30 s
	MaxResponse int64         // bytes; default 8 MiB
	MaxConns    int           // open connections; 0 = no cap
}

// Client makes HTTP requests to one server. It follows no redirects, keeps no
// cookies and uses no proxy, so that a request goes where it was sent. Make one
// with [NewClient]; it is safe for concurrent use.
type Client struct {
	base   string
	http   *http.Client
	most   int64
	bearer obs.Secret
}

// NewClient makes a client of the server at base, such as http://127.0.0.1:8080.
func NewClient(base string, opts ClientOptions) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, errors.New("the address of a server must be http://HOST:PORT or https://HOST:PORT")
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 30 * time.Second
	}
	if opts.MaxResponse <= 0 {
		opts.MaxResponse = 8 << 20
	}
	return &Client{base: strings.TrimSuffix(base, "/"), most: opts.MaxResponse, http: &http.Client{
		Timeout:       opts.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			MaxConnsPerHost:       opts.MaxConns,
			MaxIdleConnsPerHost:   256,
			IdleConnTimeout:       90 * time.Second,
			ResponseHeaderTimeout: opts.Timeout,
			DisableCompression:    true,
		},
	}}, nil
}

// As returns a copy that proves an identity with every request. The copy shares
// the connections.
func (c *Client) As(bearer obs.Secret) *Client {
	clone := *c
	clone.bearer = bearer
	return &clone
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is a whole HTTP answer.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends in as JSON, no body if it is nil, and reads the answer's JSON into
// out unless that is nil; fields that out lacks are ignored. An answer outside
// 200 to 299 comes back as the *fault.Error that its problem document says; a
// server that cannot be reached is unavailable.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) (status int, err error) {
	var body []byte
	header := http.Header{}
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return 0, fmt.Errorf("write the body of a request: %w", err)
		}
		header.Set("Content-Type", "application/json")
	}
	a, err := c.Raw(ctx, method, path, header, body)
	if err != nil {
		return 0, err
	}
	if a.Status < 200 || a.Status > 299 {
		return a.Status, a.Fault()
	}
	if out == nil || len(a.Body) == 0 {
		return a.Status, nil
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return a.Status, fault.Wrap(fault.CodeInternal, err, "the server's answer is not what it should be")
	}
	return a.Status, nil
}

// Raw sends any request and reads the whole answer, whatever its status. The
// correlation ID of ctx goes with it.
func (c *Client) Raw(ctx context.Context, method, path string, header http.Header, body []byte) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the method or path of a request is malformed") // err repeats the address
	}
	maps.Copy(req.Header, header)
	if correlation := obs.CorrelationFrom(ctx); correlation != "" && req.Header.Get(correlationHeader) == "" {
		req.Header.Set(correlationHeader, string(correlation))
	}
	if !c.bearer.Empty() {
		req.Header.Set("Authorization", "Bearer "+c.bearer.Reveal())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(io.LimitReader(resp.Body, c.most+1))
	if err != nil {
		return nil, unreachable(err)
	}
	if int64(len(all)) > c.most {
		return nil, fault.Newf(fault.CodeTooLarge, "the server's answer has more than %d bytes", c.most)
	}
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: all}, nil
}

// unreachable is the fault for a request without an answer. The address inside
// a url.Error is left out: it may hold what logs may not.
func unreachable(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		if e.Timeout() {
			return fault.Wrap(fault.CodeTimeout, context.DeadlineExceeded, "the server did not answer in time")
		}
		err = e.Err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.From(err)
	}
	return fault.Wrap(fault.CodeUnavailable, err, "the server cannot be reached")
}

// Fault is what the problem document of an answer says. An answer without one
// gives the code that fits its status.
func (a *Answer) Fault() *fault.Error {
	var p problem
	if err := json.Unmarshal(a.Body, &p); err == nil {
		if code, ok := fault.ParseCode(p.Code); ok {
			return &fault.Error{Code: code, Detail: p.Detail, Fields: p.Errors, RetryAfter: time.Duration(p.RetryAfterMS) * time.Millisecond}
		}
	}
	for _, code := range fault.Codes() {
		if StatusOf(code) == a.Status {
			return fault.Newf(code, "the server answered with status %d and no problem document", a.Status)
		}
	}
	return fault.Newf(fault.CodeInternal, "the server answered with status %d", a.Status)
}
