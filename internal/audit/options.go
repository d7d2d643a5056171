package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Options say what to audit. Only Public and Admins must be set.
type Options struct {
	Public string   // base URL of the public listener, or of the proxy before several
	Admins []string // base URLs of the admin listeners of all processes of the deployment

	// Restart restarts a node gracefully and returns when the command for it
	// has ended; see [Command]. Without it promise 1 is not judged.
	Restart      func(context.Context) error
	Prometheus   string // base URL; without it nothing is asked of Prometheus
	Alertmanager string // base URL; nothing that is built yet asks it
	LogDir       string // the log folder, or one of the processes' log folders; without it no log line is looked for

	Only []int // promises to check; none = all

	// Series gives the set of series of a process of the audited version, as its
	// catalogue computes it from its configuration, without those of the Go
	// runtime and the process. nil: the set that is found is compared with itself
	// alone.
	Series func(configuration map[string]string) ([]string, error)

	Requests int               // of the attack on the set of series; 5,000
	Seed     uint64            // of the attack; 1
	Progress func(line string) // told what is being done; may be nil
}

func (o *Options) fill() error {
	if o.Public == "" || len(o.Admins) == 0 {
		return errors.New("the audit needs the base URLs of the public listener and of the admin listeners")
	}
	for _, n := range o.Only {
		if !slices.ContainsFunc(promises(), func(p promise) bool { return p.number == n }) {
			return fmt.Errorf("there is no promise %d: they are 1 to 9", n)
		}
	}
	if o.Requests <= 0 {
		o.Requests = 5000
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return nil
}

// Command makes [Options.Restart] from a line for the shell; nil if it is empty.
// What the command prints is shown only if it fails.
func Command(line string) func(context.Context) error {
	if line == "" {
		return nil
	}
	return func(ctx context.Context) error {
		// A file and not a pipe: a server that the command leaves behind keeps
		// writing to it.
		out, err := os.CreateTemp("", "nova-restart-")
		if err != nil {
			return fmt.Errorf("the restart command: %w", err)
		}
		defer func() { _, _ = out.Close(), os.Remove(out.Name()) }()
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			said, _ := os.ReadFile(out.Name()) // if not, the exit code must do
			return fmt.Errorf("the restart command failed: %w: %s", err, lastLine(string(said)))
		}
		return nil
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
