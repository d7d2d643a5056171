package bus

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// KafkaConfig says where the events go.
type KafkaConfig struct {
	Brokers []string // host:port of one or more of them; the others are learned
	Prefix  string   // of the names of topics and groups; "" = "nova"

	Partitions  int // of a topic that [MigrateKafka] makes; 0 = 12. It stays: with it, the places of keys would change
	Replication int // copies of a topic that [MigrateKafka] makes; 0 = the broker's default

	SASL string      // "" = no login; "plain", "scram-sha-256", "scram-sha-512"
	User string      // with SASL
	Pass obs.Secret  // with SASL
	TLS  *tls.Config // nil = none
}

// What Kafka can be degraded by.
const (
	kafkaAway    = "kafka away"    // no broker answers, or not in time
	kafkaRefuses = "kafka refuses" // one answers, and does not do what it is asked to
)

const (
	// firstTime is how long a start waits for the first answer.
	firstTime = 2 * time.Second
	closeTime = 5 * time.Second
)

// Kafka is the record of events of a deployment, over Apache Kafka.
//
// It guarantees what [Events] asks for. Publish returns nil when all replicas in
// sync have every record; order holds per Key within a topic. Each queue is one
// group of Kafka: every event is handled by one node of the deployment, and by
// another one if that node ends before it has said so. An event that is refused
// for good is kept in the topic of that name with ".dead" at the end.
type Kafka struct {
	obs      *obs.Obs
	log      *slog.Logger
	group    *run.Group
	cfg      KafkaConfig
	client   *kgo.Client // of everything but the consumers, which have one each
	producer *kafkaProducer
	state    atomic.Pointer[string] // what is wrong, as the watch saw it last

	mu     sync.Mutex // guards the list
	queues []*kafkaQueue
}

// NewKafka connects to Kafka. It waits at most two seconds: brokers that cannot
// be reached are tried again for as long as the process runs. Brokers that
// answer and refuse (wrong login, untrusted certificate, topics that are not
// there) and settings that cannot be right are a [*SettingError].
func NewKafka(ctx context.Context, o *obs.Obs, g *run.Group, cfg KafkaConfig) (*Kafka, error) {
	o.Hide(cfg.Pass)
	opts, err := kafkaOptions(&cfg)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts, producerOptions()...)...)
	if err != nil {
		return nil, kafkaWrong("cannot be used as it is set", err)
	}
	k := &Kafka{obs: o, log: o.Log(obs.Process), group: g, cfg: cfg, client: client}
	k.producer = newKafkaProducer(client, &k.cfg)
	if err := k.first(ctx); err != nil {
		client.Close()
		return nil, err
	}
	g.OnStop("bus.kafka", closeTime, func(context.Context) error {
		client.Close() // whoever published something that is not acknowledged yet is told so
		return nil
	})
	g.Worker("bus.kafka watch", closeTime, k.watch)
	return k, nil
}

// first looks for a broker, and tells what waiting would not mend.
func (k *Kafka) first(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, firstTime)
	defer cancel()
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	err := k.reach(ctx)
	if err == nil {
		err = missingTopics(ctx, k.client, k.cfg.allTopics())
	}
	if set := kafkaSetting(err); set != nil {
		return set
	}
	k.note(ctx, err)
	return nil
}

// Events is the road to the services.
func (k *Kafka) Events() Events { return k }

// Degraded says why events do not get through, "" if they do: "kafka away" or
// "kafka refuses". Nothing is lost meanwhile, the outbox keeps it.
func (k *Kafka) Degraded() string {
	if s := *k.state.Load(); s != "" {
		return s
	}
	return k.producer.degraded()
}
