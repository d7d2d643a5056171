package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/nova-chat/nova/internal/app"
)

type migrateCommand struct {
	settings
	Up     migrateUp     `cmd:"" help:"Bring the tables up to date."`
	Status migrateStatus `cmd:"" help:"Show the last migration that was applied to each group of tables."`
}

type migrateUp struct{}

// Run brings the tables up to date, as serve does at its start.
func (c *migrateUp) Run(ctx context.Context, parent *migrateCommand, std streams) error {
	loaded, err := parent.load(std)
	if err != nil {
		return err
	}
	if err := app.Migrate(ctx, loaded.Config); err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, "all tables are up to date")
	return err
}

type migrateStatus struct {
	JSON bool `help:"As JSON."`
}

// Run shows how far the tables are. It changes nothing.
func (c *migrateStatus) Run(ctx context.Context, parent *migrateCommand, std streams) error {
	loaded, err := parent.load(std)
	if err != nil {
		return err
	}
	all, err := app.MigrationStatus(ctx, loaded.Config)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(std.out, "there are no tables yet")
		return err
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, s := range all {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%04d\n", s.Service, s.Name, s.Version)
	}
	return w.Flush()
}
