package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/nova-chat/nova/internal/config"
)

// The exit codes, as docs/config.md lists them.
const (
	exitFailed       = 1
	exitUsage        = 64 // EX_USAGE
	exitConfig       = 78 // EX_CONFIG
	exitSecondSignal = 130
)

// commands is the command line; one file each.
type commands struct {
	Serve        serveCommand        `cmd:"" help:"Run Nova, by default all of it in this process."`
	Seed         seedCommand         `cmd:"" help:"Make accounts with a session each straight in the store, for load tests."`
	Load         loadCommand         `cmd:"" help:"Put a load on a Nova, and judge what was delivered."`
	CheckHistory checkHistoryCommand `cmd:"" help:"Judge the histories that clients wrote, invariant by invariant."`
	Audit        auditCommand        `cmd:"" help:"Check the promises on a live deployment."`
	Migrate      migrateCommand      `cmd:"" help:"Bring the tables up to date, or show how far they are. (serve does the former itself.)"`
	Certs        certsCommand        `cmd:"" help:"Make and replace the certificates by which Nova's processes know each other."`
	Config       configCommand       `cmd:"" help:"Show, check or document the configuration."`
	Metrics      metricsCommand      `cmd:"" help:"List every metric, or count the series."`
	Version      versionCommand      `cmd:"" help:"Show the version and the build."`
}

func newCommands() *commands {
	return &commands{
		Serve:   serveCommand{settings: newSettings()},
		Seed:    seedCommand{settings: newSettings("data_dir", "database", "database_auth", "database_user", "seal")},
		Migrate: migrateCommand{settings: newSettings()}, // whoever starts nodes with flags migrates with the same ones
		Config:  configCommand{Print: configPrint{settings: newSettings()}, Validate: configValidate{settings: newSettings()}},
	}
}

// streams are where a command writes.
type streams struct{ out, err io.Writer }

// runCommand runs one command and gives the exit code.
func runCommand(ctx context.Context, args []string) int {
	std := streams{os.Stdout, os.Stderr}
	parser, err := kong.New(newCommands(), kong.Name("nova"), kong.Writers(std.out, std.err),
		kong.Description("Nova: self-hosted real-time messaging that proves its own observability."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std))
	if err != nil {
		return std.failed(err) // a mistake in the declarations above
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		_, _ = fmt.Fprintf(std.err, "nova: %v\nnova --help lists the commands, nova COMMAND --help the flags of one.\n", err)
		return exitUsage
	}
	if err := parsed.Run(); err != nil {
		return std.failed(err)
	}
	return 0
}

// exitCode ends a command that has said everything.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func (s streams) failed(err error) int {
	if bad, ok := errors.AsType[*config.Error](err); ok {
		for _, p := range bad.Problems {
			_, _ = fmt.Fprintf(s.err, "nova: setting %s\n", p)
		}
		return exitConfig
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	_, _ = fmt.Fprintf(s.err, "nova: %v\n", err)
	return exitFailed
}

// printJSON writes v, indented, for programs that people also look at.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
