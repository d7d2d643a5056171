package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// This file reads and writes values. All implement flag.Value, so that the
// file, the environment and the command line share one reader; errors say what
// would be right and never repeat the value.

type text string

func (t *text) Set(v string) error { *t = text(v); return nil }
func (t *text) String() string     { return string(*t) }

type count int

// maxCount keeps sums and bursts of two far from overflow.
const maxCount = 1_000_000_000

func (n *count) Set(v string) error {
	i, err := strconv.Atoi(v)
	if err != nil || i < 1 || i > maxCount {
		return errors.New("must be a whole number from 1 on")
	}
	*n = count(i)
	return nil
}
func (n *count) String() string { return strconv.Itoa(int(*n)) }

// optional is a count that may be left open.
type optional int

func (n *optional) Set(v string) error {
	if *n = 0; v == "" {
		return nil
	}
	return (*count)(n).Set(v)
}

func (n *optional) String() string {
	if *n == 0 {
		return ""
	}
	return (*count)(n).String()
}

type duration time.Duration

func (d *duration) Set(v string) error {
	t, err := time.ParseDuration(v)
	if err != nil {
		return errors.New("must be a duration with its unit, such as 90s, 5m or 720h")
	}
	*d = duration(t)
	return nil
}
func (d *duration) String() string { return time.Duration(*d).String() }

type level slog.Level

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

func (l *level) Set(v string) error {
	found, ok := levels[v]
	if !ok {
		return errors.New("must be debug, info, warn or error")
	}
	*l = level(found)
	return nil
}
func (l *level) String() string { return strings.ToLower(slog.Level(*l).String()) }

type onOff bool

func (o *onOff) Set(v string) error {
	if v != "on" && v != "off" {
		return errors.New("must be on or off")
	}
	*o = v == "on"
	return nil
}

func (o *onOff) String() string {
	if *o {
		return "on"
	}
	return "off"
}

type secret struct{ to *obs.Secret }

func (s *secret) Set(v string) error { *s.to = obs.NewSecret(v); return nil }
func (s *secret) String() string     { return s.to.String() }

type list []string

func (l *list) Set(v string) error {
	items, err := split(v, ",")
	*l = items
	return err
}
func (l *list) String() string { return strings.Join(*l, ",") }

// split takes a list apart; "" is the empty list, an empty item an error.
func split(v, sep string) ([]string, error) {
	if strings.TrimSpace(v) == "" {
		return nil, nil
	}
	items := strings.Split(v, sep)
	for i := range items {
		if items[i] = strings.TrimSpace(items[i]); items[i] == "" {
			return nil, fmt.Errorf("must not have an empty item between two %q", sep)
		}
	}
	return items, nil
}

type prefixes []netip.Prefix

func (p *prefixes) Set(v string) error {
	items, err := split(v, ",")
	if err != nil {
		return err
	}
	*p = nil
	for _, item := range items {
		one, err := parsePrefix(item)
		if err != nil {
			return errors.New("must be networks such as 10.0.0.0/8, or single addresses")
		}
		*p = append(*p, one)
	}
	return nil
}

func parsePrefix(v string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(v); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(v)
	return p.Masked(), err
}

func (p *prefixes) String() string {
	var all []string
	for _, one := range *p {
		all = append(all, one.String())
	}
	return strings.Join(all, ",")
}

type services []obs.Service

func (s *services) Set(v string) error {
	items, err := split(v, ",")
	if err != nil {
		return err
	}
	*s = nil
	for _, item := range items {
		one, ok := obs.ParseService(item)
		switch {
		case item == "all" && len(items) == 1:
			*s = obs.Services()
			return nil
		case !ok:
			return fmt.Errorf("must be all, or some of %s", names(obs.Services()))
		case slices.Contains(*s, one):
			return errors.New("must not name a service twice")
		}
		*s = append(*s, one)
	}
	if len(*s) == 0 {
		return errors.New("must name at least one service, or be all")
	}
	return nil
}

func (s *services) String() string {
	if len(*s) == len(obs.Services()) {
		return "all"
	}
	return names(*s)
}

func names(all []obs.Service) string {
	var out []string
	for _, s := range all {
		out = append(out, s.String())
	}
	return strings.Join(out, ",")
}

type addresses struct{ to *map[obs.Service][]string }

func (a *addresses) Set(v string) error {
	*a.to = nil
	parts, err := split(v, ";")
	if err != nil {
		return err
	}
	out := map[obs.Service][]string{}
	for _, part := range parts {
		name, rest, _ := strings.Cut(part, "=")
		svc, ok := obs.ParseService(strings.TrimSpace(name))
		addrs, err := split(rest, ",")
		if !ok || err != nil || len(addrs) == 0 {
			return errors.New("must be SERVICE=ADDR,ADDR, several separated by ;")
		}
		if out[svc] != nil {
			return errors.New("must not name a service twice")
		}
		out[svc] = addrs
	}
	if len(out) > 0 {
		*a.to = out
	}
	return nil
}

func (a *addresses) String() string {
	var parts []string
	for _, svc := range slices.Sorted(maps.Keys(*a.to)) {
		parts = append(parts, svc.String()+"="+strings.Join((*a.to)[svc], ","))
	}
	return strings.Join(parts, ";")
}

type rateValue struct {
	to  *Rate
	per time.Duration
}

// Set reads N or N/BURST. Without a burst, a limit per second lets through two
// seconds' worth at once, and a limit per minute or hour just N.
func (r *rateValue) Set(v string) error {
	n, burst, both := strings.Cut(v, "/")
	var a, b count
	err := a.Set(n)
	switch {
	case both:
		err = cmp.Or(err, b.Set(burst))
	case r.per == time.Second:
		b = 2 * a
	default:
		b = a
	}
	if err != nil {
		return errors.New("must be N or N/BURST, whole numbers from 1 on; a limit cannot be switched off")
	}
	*r.to = Rate{int(a), r.per, int(b)}
	return nil
}

func (r *rateValue) String() string { return fmt.Sprintf("%d/%d", r.to.Count, r.to.Burst) }
