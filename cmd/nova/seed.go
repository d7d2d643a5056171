package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
)

type seedCommand struct {
	settings
	Users     int           `help:"How many accounts." default:"100" env:"NOVA_USERS"`
	Prefix    string        `help:"What their names begin with." default:"load" env:"NOVA_SEED_PREFIX"`
	Out       string        `help:"Where the sessions go, one JSON object per line; - is standard output." placeholder:"FILE" default:"-" env:"NOVA_OUT"`
	AccessTTL time.Duration `help:"How long the sessions' access is good for." default:"24h" env:"NOVA_ACCESS_TTL"`
}

const maxSeed = 1_000_000

// Run makes accounts. It may do so beside a running server.
func (c *seedCommand) Run(ctx context.Context, std streams) (err error) {
	loaded, err := c.load(std)
	if err != nil {
		return err
	}
	if c.Users < 1 || c.Users > maxSeed || c.AccessTTL <= 0 {
		return fmt.Errorf("--users must be from 1 to %d, and --access-ttl positive", maxSeed)
	}
	out := std.out
	if c.Out != "-" {
		f, openErr := os.OpenFile(c.Out, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if openErr != nil {
			return fmt.Errorf("--out: %w", openErr)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	lines := bufio.NewWriter(out)
	if err := c.seed(ctx, loaded.Config, lines); err != nil {
		return err
	}
	if err := lines.Flush(); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	_, _ = fmt.Fprintf(std.err, "%d accounts named %s-..., good for %v\n", c.Users, c.Prefix, c.AccessTTL)
	return nil
}

// seededLine is a session in the file that nova load reads.
type seededLine struct {
	UserID      string `json:"user_id"`
	Username    string `json:"username"`
	DeviceID    string `json:"device_id"`
	AccessToken string `json:"access_token"`
}

func (c *seedCommand) seed(ctx context.Context, cfg config.Config, w io.Writer) error {
	lines := json.NewEncoder(w)
	return app.Seed(ctx, app.SeedOptions{Config: cfg, Users: c.Users, Prefix: c.Prefix, AccessTTL: c.AccessTTL}, func(u app.SeededUser) error {
		return lines.Encode(seededLine{u.UserID, u.Username, u.DeviceID, u.Access.Reveal()})
	})
}
