package load

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Scenario is what the devices do.
type Scenario string

// The scenarios.
const (
	Direct Scenario = "direct" // Pairs of users, both sides send
	Group  Scenario = "group"  // one conversation of Members, of whom Senders send
	Mixed  Scenario = "mixed"  // Direct and Group at once
	Idle   Scenario = "idle"   // Conns sockets that send nothing
)

// Options say what to do. Zero fields take the defaults that are named here.
type Options struct {
	Target   string    `json:"target"`            // base URL of the public listener
	Others   []string  `json:"targets,omitempty"` // of further nodes; the devices are spread over all of them
	OwnThis  bool      `json:"-"`                 // allows a target that is not on loopback
	Sessions []Session `json:"-"`                 // who the devices are; none: users are registered

	Scenario Scenario `json:"scenario"`          // Direct
	Pairs    int      `json:"pairs,omitempty"`   // 10
	Members  int      `json:"members,omitempty"` // 20
	Senders  int      `json:"senders,omitempty"` // 5, at most Members
	Conns    int      `json:"conns,omitempty"`   // 20

	// Window is the number of messages that a sender has under way in the closed
	// loop; one leaves it when it is answered and has reached all others. 1.
	Window int `json:"window,omitempty"`
	// Rate > 0 makes an open loop of that many messages per second in all.
	Rate float64 `json:"rate,omitempty"`

	Size     int           `json:"size"`       // bytes of a body, 36 to 16384; 128
	Warmup   time.Duration `json:"warmup_ns"`  // before figures count; 1 s, at most a fifth of Duration
	Duration time.Duration `json:"measure_ns"` // of the measurement; 10 s
	Settle   time.Duration `json:"settle_ns"`  // without any progress at the end until the rest counts as lost; 10 s

	Reconnect bool `json:"reconnect"` // closed sockets come back and resume
	Verify    bool `json:"verify"`    // the log is read over REST at the end and compared

	// History takes the run's history (docs/history.md), nil = none. With it some
	// messages that were answered are sent again after a reconnect, pages of
	// history are read and read marks set all the while, and every node's log is
	// read at the end.
	History io.Writer `json:"-"`

	// Run is the history's name and Clock the start of its time, for whoever
	// writes a part of the history himself. Zero: a new name, and now.
	Run   string    `json:"-"`
	Clock time.Time `json:"-"`

	// Admins are base URLs of the nodes' admin listeners. The history has how far
	// their counters rose, which tells something only if nobody else sends.
	Admins []string `json:"-"`

	Report func(Progress) `json:"-"` // called every second, may be nil; must not block
}

const (
	maxBody     = 16 << 10
	maxDevices  = 100_000
	maxDuration = 7 * 24 * time.Hour
)

func (o *Options) fill() error {
	o.Target = strings.TrimSuffix(orDefault(o.Target, "http://127.0.0.1:8080"), "/")
	o.Others = slices.Clone(o.Others)
	for i := range o.Others {
		o.Others[i] = strings.TrimSuffix(o.Others[i], "/")
	}
	o.Admins = slices.Clone(o.Admins)
	for i := range o.Admins {
		o.Admins[i] = strings.TrimSuffix(o.Admins[i], "/")
	}
	o.Scenario = orDefault(o.Scenario, Direct)
	o.Window, o.Size = orDefault(o.Window, 1), orDefault(o.Size, 128)
	o.Duration, o.Settle = orDefault(o.Duration, 10*time.Second), orDefault(o.Settle, 10*time.Second)
	o.Warmup = orDefault(o.Warmup, min(time.Second, o.Duration/5))
	switch o.Scenario {
	case Direct:
		o.Pairs = orDefault(o.Pairs, 10)
		o.Members, o.Senders, o.Conns = 0, 0, 0
	case Group:
		o.Members = orDefault(o.Members, 20)
		o.Senders = orDefault(o.Senders, min(5, o.Members))
		o.Pairs, o.Conns = 0, 0
	case Mixed:
		o.Pairs, o.Members = orDefault(o.Pairs, 10), orDefault(o.Members, 20)
		o.Senders = orDefault(o.Senders, min(5, o.Members))
		o.Conns = 0
	case Idle:
		o.Conns = orDefault(o.Conns, 20)
		o.Pairs, o.Members, o.Senders, o.Window, o.Rate = 0, 0, 0, 0, 0
	default:
		return errors.New("scenario must be direct, group, mixed or idle")
	}
	return o.check()
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

func (o *Options) check() error {
	for _, c := range []struct {
		ok   bool
		text string
	}{
		{o.Pairs >= 0 && o.devices() >= 1 && o.devices() <= maxDevices, fmt.Sprintf("pairs, members or conns must make 1 to %d devices", maxDevices)},
		{o.Members == 0 || o.Members >= 2 && o.Senders >= 1 && o.Senders <= o.Members, "a group needs 2 members or more, and 1 to that many senders"},
		{o.Scenario == Idle || o.Window >= 1 && o.Window <= 10_000, "window must be from 1 to 10000"},
		{o.Rate >= 0 && o.Rate <= 10_000_000, "rate must be from 0 (closed loop) to 10000000 messages per second"},
		{o.Size >= uuidLen && o.Size <= maxBody, fmt.Sprintf("size must be from %d to %d bytes", uuidLen, maxBody)},
		{o.Duration > 0 && o.Duration <= maxDuration && o.Warmup >= 0 && o.Settle > 0, "duration, warm-up and settling must be positive, at most 168h"},
	} {
		if !c.ok {
			return errors.New(c.text)
		}
	}
	if len(o.Sessions) > 0 && len(o.Sessions) < o.devices() {
		return fmt.Errorf("the scenario needs %d sessions, the file has %d: `nova seed --users %d` makes enough", o.devices(), len(o.Sessions), o.devices())
	}
	return o.checkTargets()
}

// targets are the base URLs of all nodes.
func (o *Options) targets() []string { return append([]string{o.Target}, o.Others...) }

func (o *Options) checkTargets() error {
	for _, base := range append(o.targets(), o.Admins...) {
		if err := o.checkTarget(base); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) checkTarget(base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" {
		return errors.New("target must be a base URL such as http://127.0.0.1:8080")
	}
	if o.OwnThis || onLoopback(u.Hostname()) {
		return nil
	}
	return errors.New("the target is not on this machine: a load test may only hit what is yours; say so with --i-own-this-target")
}

func onLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// devices is the number of users, one device each.
func (o *Options) devices() int { return 2*o.Pairs + o.Members + o.Conns }

// socketURL is where a node takes WebSockets.
func (o *Options) socketURL(node int) string {
	return "ws" + strings.TrimPrefix(o.targets()[node], "http") + "/api/v1/ws"
}

// dialTimeout bounds dial, upgrade and hello together.
const dialTimeout = 15 * time.Second
