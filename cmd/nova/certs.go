package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/obs"
)

type certsCommand struct {
	Dir    string      `help:"Folder of the authority and the certificates." placeholder:"FOLDER" default:"certs" env:"NOVA_CERTS_DIR"`
	Init   certsInit   `cmd:"" help:"Make the authority. It stays on the machine where it was made."`
	Issue  certsIssue  `cmd:"" help:"Make certificates for processes that run certain services."`
	Rotate certsRotate `cmd:"" help:"Replace every certificate by a new one, or begin with a new authority."`
	Retire certsRetire `cmd:"" help:"End the trust in authorities before the present one."`
	List   certsList   `cmd:"" help:"Show the certificates and when they end."`
}

// The lives of what is made: short where replacing is one command, long where
// every machine has to be visited.
const (
	daysCertificate = 90
	daysAuthority   = 3650
	daysMost        = 36500
	day             = 24 * time.Hour
)

func (c *certsCommand) folder() certs.Folder { return certs.Folder{Dir: c.Dir, Now: time.Now} }

// lifeOf is a number of days, or the usual one for 0.
func lifeOf(days, usual int) (time.Duration, error) {
	if days < 0 || days > daysMost {
		return 0, fmt.Errorf("--days must be from 1 to %d", daysMost)
	}
	if days == 0 {
		days = usual
	}
	return time.Duration(days) * day, nil
}

type certsInit struct {
	Days int `help:"How long the authority is good for (3650)." env:"NOVA_DAYS"`
}

// Run makes the authority. It overwrites nothing.
func (c *certsInit) Run(parent *certsCommand, std streams) error {
	life, err := lifeOf(c.Days, daysAuthority)
	if err != nil {
		return err
	}
	if err := parent.folder().Init(life); err != nil {
		return fmt.Errorf("certs init: %w", err)
	}
	_, err = fmt.Fprintf(std.out, "%s/authority.pem issues certificates: keep it here and safe\n%s/trusted.pem goes to every machine\n", parent.Dir, parent.Dir)
	return err
}

type certsIssue struct {
	Services []string `help:"What the processes run: services separated by commas, each a process of its own; + joins those of one process. all is each of the five." placeholder:"auth,user+media" default:"all" env:"NOVA_SERVICES"`
	Hosts    []string `help:"Make a set for each of these machines, in a folder of that name." placeholder:"NAME" env:"NOVA_HOSTS"`
	Days     int      `help:"How long the certificates are good for (90)." env:"NOVA_DAYS"`
}

// Run makes certificates. It overwrites nothing.
func (c *certsIssue) Run(parent *certsCommand, std streams) error {
	life, err := lifeOf(c.Days, daysCertificate)
	if err != nil {
		return err
	}
	processes, err := processesOf(c.Services)
	if err != nil {
		return err
	}
	made, err := parent.folder().Issue(processes, c.Hosts, life)
	if err != nil {
		return fmt.Errorf("certs issue: %w", err)
	}
	return std.made(parent.Dir, made)
}

// made lists what was made, one path a line.
func (s streams) made(dir string, paths []string) error {
	for _, p := range paths {
		if _, err := fmt.Fprintf(s.out, "%s/%s\n", dir, p); err != nil {
			return err
		}
	}
	return nil
}

// processesOf reads --services.
func processesOf(texts []string) (all [][]obs.Service, err error) {
	for _, text := range texts {
		if text == "all" {
			for _, s := range obs.Services() {
				all = append(all, []obs.Service{s})
			}
			continue
		}
		var process []obs.Service
		for name := range strings.SplitSeq(text, "+") {
			s, ok := obs.ParseService(name)
			if !ok || slices.Contains(process, s) {
				return nil, fmt.Errorf("--services: want auth, user, messaging, notification, media or all, each once, joined by + for one process, and not %q", text)
			}
			process = append(process, s)
		}
		slices.Sort(process)
		all = append(all, process)
	}
	for i, p := range all {
		if slices.ContainsFunc(all[:i], func(q []obs.Service) bool { return slices.Equal(p, q) }) {
			return nil, fmt.Errorf("--services names a process twice: %s", p[0])
		}
	}
	return all, nil
}

type certsRotate struct {
	Authority bool `help:"Make a new authority that is trusted beside the old one; certificates stay until the next rotate."`
	Days      int  `help:"How long what is made is good for (90, an authority 3650)." env:"NOVA_DAYS"`
}

// Run replaces certificates and keeps the old ones beside them.
func (c *certsRotate) Run(parent *certsCommand, std streams) error {
	usual := daysCertificate
	if c.Authority {
		usual = daysAuthority
	}
	life, err := lifeOf(c.Days, usual)
	if err != nil {
		return err
	}
	if !c.Authority {
		made, err := parent.folder().Rotate(life)
		if err != nil {
			return fmt.Errorf("certs rotate: %w", err)
		}
		return std.made(parent.Dir, made)
	}
	if err := parent.folder().RotateAuthority(life); err != nil {
		return fmt.Errorf("certs rotate: %w", err)
	}
	_, err = fmt.Fprintln(std.out, "a new authority is trusted beside the old one\n"+
		"1. bring trusted.pem to every machine\n2. nova certs rotate, and bring the new certificates to their machines\n3. nova certs retire, and bring trusted.pem to every machine")
	return err
}

type certsRetire struct{}

// Run ends the trust in old authorities; it refuses while one is still needed.
func (c *certsRetire) Run(parent *certsCommand, std streams) error {
	retired, err := parent.folder().Retire()
	if err != nil {
		return fmt.Errorf("certs retire: %w", err)
	}
	if len(retired) == 0 {
		_, err = fmt.Fprintln(std.out, "only the present authority is trusted")
		return err
	}
	_, err = fmt.Fprintf(std.out, "no longer trusted: %s\nbring trusted.pem to every machine\n", strings.Join(retired, ", "))
	return err
}

type certsList struct {
	JSON bool `help:"As JSON."`
}

// Run shows the certificates.
func (c *certsList) Run(parent *certsCommand, std streams) error {
	all, err := parent.folder().List()
	if err != nil {
		return fmt.Errorf("certs list: %w", err)
	}
	if c.JSON {
		return printJSON(std.out, all)
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, h := range all {
		_, _ = fmt.Fprintf(w, "%s\tends %s\t%s\t%s\n", h.Path, h.NotAfter.UTC().Format(time.DateOnly), strings.Join(h.Services, "+"), h.Authority)
	}
	return w.Flush()
}
