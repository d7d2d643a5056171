package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/nova-chat/nova/internal/load"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/process"
	"github.com/nova-chat/nova/test/servers"
)

// The kinds of deployments.
const (
	onSQLite   = "sqlite"   // one process
	onPostgres = "postgres" // one process
	asNodes    = "nodes"    // two processes with all services, over PostgreSQL, Redis and Kafka
	asServices = "services" // two processes for each service, which call each other over mutual TLS
	rolling    = "rolling"  // as nodes, but three, which end one after the other
)

var kinds = []string{onSQLite, onPostgres, asNodes, asServices, rolling}

// deployment is the processes that the rounds end, and what they share.
type deployment struct {
	kind, binary, dir string
	env               []string        // of all
	whole             *process.Server // never runs: it is who migrates and seeds
	parts             []*part         // those that others call first
	targets           []string        // where messages are sent
	picked            int             // how many were picked
	ends              []func() error  // of the servers
}

// part is one process.
type part struct {
	*process.Server
	name    string
	sockets bool // it has them
}

// deploy makes the processes and starts the servers that they share: those that
// the variables of the tests name, or its own.
func deploy(kind, binary, dir string) (d *deployment, err error) {
	if !slices.Contains(kinds, kind) {
		return nil, fmt.Errorf("-deployment must be one of %s", strings.Join(kinds, ", "))
	}
	d = &deployment{kind: kind, binary: binary, dir: dir, env: process.Unlimited()}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if kind != onSQLite {
		if err := d.share(); err != nil {
			return d, err
		}
	}
	if d.whole, err = process.New(binary, nil, append(d.env, "NOVA_DATA_DIR="+d.folder("all"))); err != nil {
		return d, err
	}
	if kind != onSQLite && kind != onPostgres {
		if _, err := d.whole.Command("migrate", "up"); err != nil {
			return d, err
		}
	}
	return d, d.makeParts()
}

// nodes is how many processes have the same services.
func (d *deployment) nodes() int {
	if d.kind == rolling {
		return 3
	}
	return 2
}

func (d *deployment) folder(name string) string { return filepath.Join(d.dir, name) }

// share finds or starts the servers, and makes a database and names of its own.
func (d *deployment) share() error {
	set, err := servers.All(os.Stderr)
	if err != nil {
		return err
	}
	d.ends = append(d.ends, set.Close)
	at := func(name string) string {
		for _, v := range set.Variables {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return os.Getenv(name)
	}
	database, drop, err := servers.NewDatabase(at(servers.EnvPostgres))
	if err != nil {
		return err
	}
	d.ends = append(d.ends, drop)
	seal := make([]byte, 32)
	_, _ = rand.Read(seal) // never fails
	d.env = append(d.env, "NOVA_DATABASE="+database, "NOVA_SEAL="+base64.StdEncoding.EncodeToString(seal))
	if d.kind == onPostgres {
		return nil
	}
	prefix, brokers := "rounds-"+strings.ToLower(rand.Text()), at(servers.EnvKafka)
	d.ends = append(d.ends, func() error { return servers.DropTopics(strings.Split(brokers, ","), prefix) })
	d.env = append(d.env, "NOVA_REDIS="+at(servers.EnvRedis), "NOVA_KAFKA="+brokers, "NOVA_PREFIX="+prefix, "NOVA_NODES="+strconv.Itoa(d.nodes()))
	return nil
}

func (d *deployment) makeParts() error {
	switch d.kind {
	case onSQLite, onPostgres:
		return d.add("all", true)
	case asNodes, rolling:
		for i := range d.nodes() {
			if err := d.add("node"+strconv.Itoa(i+1), true); err != nil {
				return err
			}
		}
		return nil
	}
	certs := d.folder("certs")
	for _, do := range []string{"init", "issue"} {
		if _, err := d.whole.Command("certs", "--dir", certs, do); err != nil {
			return err
		}
	}
	var called []string
	for _, s := range obs.Services() {
		for i := range 2 {
			env := []string{"NOVA_SERVICES=" + s.String(), "NOVA_RPC_TRUSTED=" + filepath.Join(certs, "trusted.pem"), "NOVA_RPC_IDENTITY=" + filepath.Join(certs, s.String()+".pem")}
			if s == obs.Auth {
				port, err := servers.FreePort()
				if err != nil {
					return err
				}
				called = append(called, "127.0.0.1:"+strconv.Itoa(port))
				env = append(env, "NOVA_LISTEN_GRPC="+called[i])
			} else {
				env = append(env, "NOVA_RPC=auth="+strings.Join(called, ","))
			}
			if err := d.add(s.String()+strconv.Itoa(i+1), s == obs.Messaging, env...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *deployment) add(name string, sockets bool, env ...string) error {
	s, err := process.New(d.binary, nil, slices.Concat(d.env, env, []string{"NOVA_DATA_DIR=" + d.folder(name)}))
	if err != nil {
		return err
	}
	d.parts = append(d.parts, &part{s, name, sockets})
	if sockets {
		d.targets = append(d.targets, "http://"+s.Public)
	}
	return nil
}

// seed makes accounts straight in the store.
func (d *deployment) seed(n int) ([]load.Session, error) {
	out, err := d.whole.Command("seed", "--users", strconv.Itoa(n), "--prefix", "rounds")
	if err != nil {
		return nil, err
	}
	return load.ReadSessions(bytes.NewReader(out))
}

func (d *deployment) start() error {
	for _, p := range d.parts {
		if err := p.Start(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// pick is who ends next: every other time one with sockets, or each in its turn.
func (d *deployment) pick(r *mathrand.Rand) *part {
	from := d.parts
	if d.kind == rolling {
		d.picked++
		return from[(d.picked-1)%len(from)]
	}
	if r.IntN(2) == 0 {
		from = slices.DeleteFunc(slices.Clone(from), func(p *part) bool { return !p.sockets })
	}
	return from[r.IntN(len(from))]
}

// stop ends all processes in order, those that others call last.
func (d *deployment) stop() (all []round) {
	for _, p := range slices.Backward(d.parts) {
		all = append(all, ended("end", p, syscall.SIGTERM))
	}
	return all
}

// ended ends a process and prints what it said last if it did not end well.
func ended(name string, p *part, signal syscall.Signal) round {
	one := judged(name, p.name, p.Stop(signal))
	if one.Verdict != "ok" {
		_, _ = fmt.Fprintf(os.Stderr, "rounds: round %s: %s: %s\n%s", name, p.name, one.Verdict, p.Complaints())
	}
	return one
}

// errors are the lines of level error in all logs.
func (d *deployment) errors() map[string]int {
	all := map[string]int{}
	for _, p := range d.parts {
		for text, n := range p.Errors() {
			all[text] += n
		}
	}
	return all
}

func (d *deployment) complaints() string {
	var b strings.Builder
	for _, p := range d.parts {
		fmt.Fprintf(&b, "%s: %s\n", p.name, p.Complaints())
	}
	return b.String()
}

// close ends what still runs by force, and the servers.
func (d *deployment) close() (err error) {
	for _, p := range d.parts {
		p.Stop(syscall.SIGKILL)
	}
	for _, end := range slices.Backward(d.ends) {
		err = errors.Join(err, end())
	}
	return err
}
