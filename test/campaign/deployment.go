package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/nova-chat/nova/internal/load"
	"github.com/nova-chat/nova/test/process"
	"github.com/nova-chat/nova/test/servers"
)

// deployment is two nodes over servers of their own, each node with a proxy of
// its own before every server.
type deployment struct {
	postgres *servers.PostgresServer
	redis    *servers.RedisServer
	kafka    *servers.KafkaServer
	nodes    []*node
	guest    *node // a third node that joins and leaves, without proxies
	sessions []load.Session
}

// node is one process of Nova and what lies between it and the servers.
type node struct {
	*process.Server
	name     string // as histories have it
	postgres *servers.Proxy
	redis    *servers.Proxy
	kafka    []*servers.Proxy
}

const nodeCount = 2

// deploy starts everything and makes accounts with a session each.
func deploy(ctx context.Context, binary, dir string, brokers, accounts int) (d *deployment, err error) {
	d = &deployment{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.postgres, err = servers.NewPostgres(servers.PostgresOptions{}); err != nil {
		return d, err
	}
	if d.redis, err = servers.NewRedis(servers.RedisOptions{}); err != nil {
		return d, err
	}
	d.kafka, err = servers.NewKafka(servers.KafkaOptions{Nodes: brokers, Ways: nodeCount, Settings: []string{
		// The time at which a broker has a record tells when the outbox was rid of it.
		"log.message.timestamp.type=LogAppendTime",
	}})
	if err != nil {
		return d, err
	}
	seal := make([]byte, 32)
	_, _ = rand.Read(seal) // never fails
	if err := d.makeNodes(binary, dir, "NOVA_SEAL="+base64.StdEncoding.EncodeToString(seal)); err != nil {
		return d, err
	}
	if _, err := d.guest.Command("migrate", "up"); err != nil {
		return d, err
	}
	out, err := d.guest.Command("seed", "--users", strconv.Itoa(accounts), "--prefix", "campaign")
	if err != nil {
		return d, err
	}
	if d.sessions, err = load.ReadSessions(bytes.NewReader(out)); err != nil {
		return d, err
	}
	for _, n := range d.nodes {
		if err := n.Start(); err != nil {
			return d, err
		}
	}
	return d, ctx.Err()
}

func (d *deployment) makeNodes(binary, dir, seal string) (err error) {
	for i := range nodeCount {
		n := &node{kafka: d.kafka.Ways[i]}
		if n.postgres, err = servers.NewProxy(d.postgres.Addr); err != nil {
			return err
		}
		if n.redis, err = servers.NewProxy(d.redis.Addr); err != nil {
			return err
		}
		var brokers []string
		for _, p := range n.kafka {
			brokers = append(brokers, p.Addr)
		}
		if err := n.make(binary, dir, "node"+strconv.Itoa(i+1), []string{
			seal, "NOVA_DATABASE=" + at(d.postgres.URL, n.postgres.Addr), "NOVA_REDIS=" + at(d.redis.URL, n.redis.Addr),
			"NOVA_KAFKA=" + strings.Join(brokers, ","),
		}); err != nil {
			return err
		}
		d.nodes = append(d.nodes, n)
	}
	d.guest = &node{}
	return d.guest.make(binary, dir, "guest", []string{
		seal, "NOVA_DATABASE=" + d.postgres.URL, "NOVA_REDIS=" + d.redis.URL, "NOVA_KAFKA=" + strings.Join(d.kafka.Brokers, ","),
	})
}

func (n *node) make(binary, dir, name string, env []string) (err error) {
	folder := filepath.Join(dir, name)
	env = append(append(env, process.Unlimited()...), "NOVA_DATA_DIR="+folder, "NOVA_LOG_DIR="+filepath.Join(folder, "log"), "NOVA_ACCESS_TTL=24h")
	n.Server, err = process.New(binary, nil, env)
	if err == nil {
		n.name = n.Public
	}
	return err
}

// at is a URL with another address.
func at(text, addr string) string {
	u, err := url.Parse(text)
	if err != nil {
		panic(fmt.Sprintf("the address of a test server: %v", err)) // made by us
	}
	u.Host = addr
	return u.String()
}

// take gives accounts that nobody had yet.
func (d *deployment) take(n int) []load.Session {
	taken := d.sessions[:n]
	d.sessions = d.sessions[n:]
	return taken
}

// restore takes back whatever is done to connections and servers.
func (d *deployment) complaints() string {
	var b strings.Builder
	for i, n := range d.nodes {
		fmt.Fprintf(&b, "node %d: %s\n", i+1, n.Complaints())
	}
	return b.String()
}

// close ends everything by force.
func (d *deployment) close() (err error) {
	for _, n := range append(d.nodes, d.guest) {
		if n == nil || n.Server == nil {
			continue
		}
		n.Stop(syscall.SIGKILL)
		if n.postgres != nil {
			n.postgres.Close()
			n.redis.Close()
		}
	}
	if d.kafka != nil {
		err = errors.Join(err, d.kafka.Close())
	}
	if d.redis != nil {
		err = errors.Join(err, d.redis.Close())
	}
	if d.postgres != nil {
		err = errors.Join(err, d.postgres.Close())
	}
	return err
}
