package servers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaVersion is the release whose artefacts test/prepare.sh brings.
const kafkaVersion = "3.9.1"

// KafkaOptions are the differences from one plain node.
type KafkaOptions struct {
	// Nodes is 1 or 3. With three, topics have three replicas, of which two
	// must have a record before it is acknowledged.
	Nodes int
	// Protocol is what clients speak: PLAINTEXT if empty, SASL_PLAINTEXT, SSL,
	// SASL_SSL. What it needs goes into Settings.
	Protocol string
	// Ways is how many further ways lead to each node, each through a proxy of its
	// own: who comes by a way is told to go on by it.
	Ways int
	// Settings are further lines of server.properties and win over the usual ones.
	Settings []string
}

// KafkaServer is a Kafka of one's own. Its nodes have the identifiers 1, 2, 3 in
// the order of Nodes.
type KafkaServer struct {
	Brokers []string
	Nodes   []*Server
	// Ways are the proxies of each way, one for each node.
	Ways [][]*Proxy
}

// NewKafka starts the nodes and returns when all take part.
func NewKafka(o KafkaOptions) (*KafkaServer, error) {
	jars, err := kafkaJars()
	if err != nil {
		return nil, err
	}
	o.Nodes = max(1, o.Nodes)
	addrs, err1 := freeAddrs((3 + o.Ways) * o.Nodes)
	id, err2 := clusterID()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	c := &kafkaCluster{
		options: o, jars: jars, id: id,
		clients: addrs[:o.Nodes], internal: addrs[o.Nodes : 2*o.Nodes], controllers: addrs[2*o.Nodes : 3*o.Nodes],
	}
	k := &KafkaServer{Brokers: c.clients}
	for way := range slices.Chunk(addrs[3*o.Nodes:], o.Nodes) {
		proxies, err := newProxies(way)
		k.Ways, c.ways, c.behind = append(k.Ways, proxies), append(c.ways, proxies), append(c.behind, way)
		if err != nil {
			return nil, errors.Join(err, k.Close())
		}
	}
	for i := range o.Nodes {
		s, err := c.node(i)
		if err != nil {
			return nil, errors.Join(err, k.Close())
		}
		k.Nodes = append(k.Nodes, s)
	}
	if err := k.each(c.prepare); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// clusterID is 16 random bytes in Kafka's spelling. It never begins with a dash:
// the tool that formats the folder would take it for an option.
func clusterID() (string, error) {
	b := make([]byte, 16)
	_, err := rand.Read(b)
	b[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(b), err
}

// Start starts the nodes that do not run, together: one alone has no quorum.
func (k *KafkaServer) Start() error {
	return k.each(func(s *Server) error {
		if s.Running() {
			return nil
		}
		return s.Start()
	})
}

// Stop, Kill, Pause, Continue and Close do to each node what its method of that
// name does.
func (k *KafkaServer) Stop() error     { return k.each((*Server).Stop) }
func (k *KafkaServer) Kill() error     { return k.each((*Server).Kill) }
func (k *KafkaServer) Pause() error    { return k.each((*Server).Pause) }
func (k *KafkaServer) Continue() error { return k.each((*Server).Continue) }
func (k *KafkaServer) Close() error {
	for _, p := range slices.Concat(k.Ways...) {
		p.Close()
	}
	return k.each((*Server).Close)
}

func (k *KafkaServer) each(do func(*Server) error) error {
	errs := make(chan error, len(k.Nodes))
	for _, s := range k.Nodes {
		go func() { errs <- do(s) }()
	}
	var all error
	for range k.Nodes {
		all = errors.Join(all, <-errs)
	}
	return all
}

// kafkaCluster is what the nodes have in common.
type kafkaCluster struct {
	options                        KafkaOptions
	jars, id                       string
	clients, internal, controllers []string
	ways                           [][]*Proxy
	behind                         [][]string // where the nodes listen for them
}

func (c *kafkaCluster) node(i int) (*Server, error) {
	dir, err := makeDir("kafka")
	if err != nil {
		return nil, err
	}
	return &Server{
		Addr: c.clients[i], Dir: dir, name: fmt.Sprintf("Kafka node %d", i+1), stop: syscall.SIGTERM,
		command: func() *exec.Cmd { return c.java(dir, "kafka.Kafka", "server.properties") },
		ready:   func(ctx context.Context) error { return kafkaReady(ctx, c.internal[i], len(c.internal)) },
	}, nil
}

// prepare formats a node's folder and starts it.
func (c *kafkaCluster) prepare(s *Server) error {
	i := slices.Index(c.clients, s.Addr)
	if err := os.WriteFile(filepath.Join(s.Dir, "server.properties"), []byte(c.properties(i, s.Dir)), 0o600); err != nil {
		return err
	}
	out, err := c.java(s.Dir, "kafka.tools.StorageTool", "format", "-t", c.id, "-c", "server.properties").CombinedOutput()
	if err != nil {
		return fmt.Errorf("format the folder of Kafka: %w\n%s", err, out)
	}
	return s.Start()
}

func (c *kafkaCluster) java(dir string, args ...string) *exec.Cmd {
	// The quick compiler alone starts in half the time, and a test is over
	// before the slow one would have paid.
	java := []string{
		"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-cp", filepath.Join(c.jars, "*"),
	}
	cmd := exec.Command("java", append(java, args...)...)
	cmd.Dir = dir
	return cmd
}

func (c *kafkaCluster) properties(i int, dir string) string {
	protocol := c.options.Protocol
	if protocol == "" {
		protocol = "PLAINTEXT"
	}
	var voters []string
	for n, addr := range c.controllers {
		voters = append(voters, fmt.Sprintf("%d@%s", n+1, addr))
	}
	replicas, inSync := 1, 1
	if len(c.clients) == 3 {
		replicas, inSync = 3, 2
	}
	listeners := []string{"CLIENT://" + c.clients[i], "INTERNAL://" + c.internal[i]}
	advertised, protocols := slices.Clone(listeners), []string{"CLIENT:" + protocol, "INTERNAL:PLAINTEXT", "CONTROLLER:PLAINTEXT"}
	for n := range c.ways {
		listeners = append(listeners, fmt.Sprintf("WAY%d://%s", n, c.behind[n][i]))
		advertised = append(advertised, fmt.Sprintf("WAY%d://%s", n, c.ways[n][i].Addr))
		protocols = append(protocols, fmt.Sprintf("WAY%d:%s", n, protocol))
	}
	lines := []string{
		"process.roles=broker,controller",
		fmt.Sprintf("node.id=%d", i+1),
		"controller.quorum.voters=" + strings.Join(voters, ","),
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=INTERNAL",
		"listeners=" + strings.Join(append(listeners, "CONTROLLER://"+c.controllers[i]), ","),
		"advertised.listeners=" + strings.Join(advertised, ","),
		"listener.security.protocol.map=" + strings.Join(protocols, ","),
		"log.dirs=" + filepath.Join(dir, "data"),
		fmt.Sprintf("default.replication.factor=%d", replicas),
		fmt.Sprintf("min.insync.replicas=%d", inSync),
		fmt.Sprintf("offsets.topic.replication.factor=%d", replicas),
		fmt.Sprintf("transaction.state.log.replication.factor=%d", replicas),
		fmt.Sprintf("transaction.state.log.min.isr=%d", inSync),
		"offsets.topic.num.partitions=4",
		"transaction.state.log.num.partitions=4",
		"group.initial.rebalance.delay.ms=0",
		// A node that was killed is let in again only when its last session is
		// over, which by default takes nine seconds.
		"broker.session.timeout.ms=3000",
		"broker.heartbeat.interval.ms=500",
		"auto.create.topics.enable=false",
	}
	return strings.Join(append(lines, c.options.Settings...), "\n") + "\n"
}

// kafkaReady asks one node for the cluster as it sees it: with all nodes in it,
// and with somebody who keeps the offsets of groups, since that takes the first
// consumer seconds.
func kafkaReady(ctx context.Context, addr string, nodes int) error {
	if err := connects(ctx, addr); err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestTimeoutOverhead(2*time.Second), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	meta, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if len(meta.Brokers) < nodes {
		return fmt.Errorf("%d nodes of %d take part", len(meta.Brokers), nodes)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey, find.CoordinatorKeys = "ready", []string{"ready"}
	found, err := find.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, c := range found.Coordinators {
		if c.ErrorCode != 0 {
			return fmt.Errorf("no coordinator of groups, Kafka's code %d", c.ErrorCode)
		}
	}
	return nil
}

// kafkaJars is the folder that test/prepare.sh fills.
func kafkaJars() (string, error) {
	const bring = "install Java 17 and Maven, then run test/prepare.sh"
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	dir := filepath.Join(cache, "nova", "kafka-"+kafkaVersion)
	if _, err := exec.LookPath("java"); err != nil {
		return "", missing{"Kafka", bring}
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "kafka_*.jar")); len(found) == 0 {
		return "", missing{"Kafka", bring}
	}
	return dir, nil
}
