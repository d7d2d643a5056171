package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/audit"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
)

type auditCommand struct {
	Public       string        `help:"Base URL of the public listener." default:"http://127.0.0.1:8080" placeholder:"URL" env:"NOVA_PUBLIC"`
	Admin        []string      `help:"Base URL of the admin listener; those of all processes with commas or by repeating it." default:"http://127.0.0.1:8081" placeholder:"URL,URL" env:"NOVA_ADMIN"`
	RestartCmd   string        `help:"Command that restarts a node; without it promise 1 is not judged." placeholder:"CMD" env:"NOVA_RESTART_CMD"`
	Prometheus   string        `help:"Base URL of the Prometheus that scrapes them." placeholder:"URL" env:"NOVA_PROMETHEUS"`
	Alertmanager string        `help:"Base URL of the Alertmanager." placeholder:"URL" env:"NOVA_ALERTMANAGER"`
	LogDir       string        `help:"The log folder, or the folder of the processes' log folders; without it no log line is looked for." placeholder:"DIR" env:"NOVA_LOG_DIR"`
	Only         []int         `help:"Promises to check, such as 1,2,5; exit 2 if one of them could not be judged." placeholder:"N,N" env:"NOVA_ONLY"`
	JSON         string        `help:"Write the report to this file; - is standard output." placeholder:"FILE" env:"NOVA_JSON"`
	Timeout      time.Duration `help:"Time for the whole audit." default:"30m" placeholder:"DURATION" env:"NOVA_TIMEOUT"`
}

// Run checks the promises on a live deployment. The table and the receipts go
// to standard output, or to standard error if the JSON goes there.
func (c *auditCommand) Run(ctx context.Context, std streams) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	report, err := audit.Run(ctx, audit.Options{
		Public: c.Public, Admins: c.Admin, Restart: audit.Command(c.RestartCmd),
		Prometheus: c.Prometheus, Alertmanager: c.Alertmanager, LogDir: c.LogDir, Only: c.Only, Series: series,
		Progress: func(line string) { _, _ = fmt.Fprintln(std.err, line) },
	})
	if err != nil {
		return err
	}
	people := std.out
	if c.JSON == "-" {
		people = std.err
	}
	if err := errors.Join(report.Print(people), c.write(std, report)); err != nil {
		return err
	}
	if code := report.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}

// series is what a process of this version has, by its configuration.
func series(configuration map[string]string) ([]string, error) {
	cfg := config.Default()
	if services := configuration["services"]; services != "all" {
		cfg.Services = nil
		for name := range strings.SplitSeq(services, ",") {
			s, ok := obs.ParseService(name)
			if !ok {
				return nil, fmt.Errorf("a process runs a service that this version does not know: %q", name)
			}
			cfg.Services = append(cfg.Services, s)
		}
	}
	cfg.RPCIdentity = configuration["rpc_identity"]
	m, _, err := app.Catalogue(cfg)
	if err != nil {
		return nil, err
	}
	return m.Static(), nil
}

func (c *auditCommand) write(std streams, report audit.Report) error {
	switch c.JSON {
	case "":
		return nil
	case "-":
		return report.WriteJSON(std.out)
	}
	f, err := os.Create(c.JSON)
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return errors.Join(report.WriteJSON(f), f.Close())
}
