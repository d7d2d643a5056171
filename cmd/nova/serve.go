package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/nova-chat/nova/internal/app"
)

type serveCommand struct {
	settings
}

// Run serves until a signal, or the admin listener, asks for the end. Log lines
// go to standard output; what is for people and for scripts that wait for the
// start goes to standard error, plain.
func (c *serveCommand) Run(ctx context.Context, std streams) error {
	loaded, err := c.load(std)
	if err != nil {
		return err
	}
	raiseFileLimit()
	a, err := app.New(ctx, app.Options{Config: loaded.Config, Log: std.out})
	if err != nil {
		return startError(err)
	}
	if err := a.Start(ctx); err != nil {
		a.Stop(context.WithoutCancel(ctx))
		return startError(err)
	}
	public, admin := a.PublicURL(), a.AdminURL()
	_, _ = fmt.Fprintf(std.err, "ready public=%s admin=%s\n", public, admin)
	_, _ = fmt.Fprintf(std.err, "  web client  %s/\n  API docs    %s/docs\n  metrics     %s/metrics\n  data        %s\nCtrl+C drains and stops; a second one stops at once.\n",
		public, public, admin, loaded.Config.DataDir)
	select {
	case <-ctx.Done():
	case <-a.Done():
	}
	ledger := a.Stop(context.WithoutCancel(ctx))
	if ledger.Err != nil {
		return fmt.Errorf("the drain was not clean: %w", ledger.Err)
	}
	return nil
}

// startError adds which setting helps, where the cause alone does not say it.
func startError(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted before it was ready")
	case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w\nSet data_dir and log_dir to folders that this user may use", err)
	}
	return err
}
