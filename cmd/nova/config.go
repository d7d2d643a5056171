package main

import (
	"fmt"

	"github.com/nova-chat/nova/internal/config"
)

type configCommand struct {
	Print    configPrint    `cmd:"" help:"Show what is in force and where each value comes from; secrets are masked."`
	Validate configValidate `cmd:"" help:"Check the configuration without starting anything."`
	Document configDocument `cmd:"" help:"Write the reference of all settings, in Markdown."`
}

type configPrint struct {
	settings
	JSON bool `help:"As JSON."`
}

// Run shows the effective configuration.
func (c *configPrint) Run(std streams) error {
	loaded, err := c.load(std)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, loaded.Config.Entries(loaded.Sources))
	}
	_, err = fmt.Fprint(std.out, loaded.Config.YAML(loaded.Sources))
	return err
}

type configValidate struct {
	settings
}

// Run checks.
func (c *configValidate) Run(std streams) error {
	if _, err := c.load(std); err != nil {
		return err
	}
	_, err := fmt.Fprintln(std.out, "the configuration is valid")
	return err
}

type configDocument struct{}

// Run writes docs/config.md.
func (c *configDocument) Run(std streams) error {
	_, err := fmt.Fprint(std.out, config.Document())
	return err
}
