package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// families are the topics, without prefix, and what precedes the dot in the
// types that they hold. What has to stay in order for one key is in one topic;
// what no family lists is in the last.
var families = []struct {
	topic string
	types []string
}{
	{"accounts", []string{"user"}},
	{"messaging", []string{"message", "conversation"}},
	{"other", nil},
}

const (
	deadSuffix = ".dead"

	// keepTime is how long Kafka keeps an event. The consumers recognise repeats
	// for longer (outbox.Config.OnceFor), else a group that begins anew would
	// handle things twice.
	keepTime     = 7 * 24 * time.Hour
	keepDeadTime = 30 * 24 * time.Hour

	migrateTime = 30 * time.Second
)

// topicOf is where events of a type are.
func (cfg *KafkaConfig) topicOf(kind string) string {
	family, _, _ := strings.Cut(kind, ".")
	for _, f := range families {
		if f.types == nil || slices.Contains(f.types, family) {
			return cfg.Prefix + "." + f.topic
		}
	}
	panic("unreachable: the last family takes all")
}

// topicsOf is where events of the types are; nil means all types.
func (cfg *KafkaConfig) topicsOf(types []string) (topics []string) {
	if types == nil {
		for _, f := range families {
			topics = append(topics, cfg.Prefix+"."+f.topic)
		}
		return topics
	}
	for _, t := range types {
		topics = append(topics, cfg.topicOf(t))
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// allTopics lists the topics with those of the dead letters.
func (cfg *KafkaConfig) allTopics() (all []string) {
	for _, t := range cfg.topicsOf(nil) {
		all = append(all, t, t+deadSuffix)
	}
	return all
}

// missingTopics is a [*SettingError] if a topic is not there, another error if
// that cannot be told.
func missingTopics(ctx context.Context, cl *kgo.Client, topics []string) error {
	have, err := kadm.NewClient(cl).ListTopics(ctx, topics...)
	if err != nil {
		return err
	}
	for _, t := range topics {
		switch err := have[t].Err; {
		case !have.Has(t), errors.Is(err, kerr.UnknownTopicOrPartition):
			return kafkaWrong("the topic "+t+" is not there: run nova migrate up", nil)
		case err != nil:
			return err
		}
	}
	return nil
}

// MigrateKafka makes the topics that are missing, and may run again at any time,
// also beside another one. Topics that are there are not changed: one that has
// fewer partitions or copies than are set, or keeps events for longer than
// repeats are recognised, is a [*SettingError].
func MigrateKafka(ctx context.Context, cfg KafkaConfig) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTime)
	defer cancel()
	opts, err := kafkaOptions(&cfg)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts, kgo.RetryTimeout(migrateTime))...)
	if err != nil {
		return kafkaWrong("cannot be used as it is set", err)
	}
	defer cl.Close()
	m := migration{cfg: &cfg, adm: kadm.NewClient(cl)}
	if err := m.run(ctx); err != nil {
		if set := kafkaSetting(err); set != nil {
			return set
		}
		return fmt.Errorf("%s: %w", kafkaName, err)
	}
	return nil
}

type migration struct {
	cfg *KafkaConfig
	adm *kadm.Client
}

func (m migration) run(ctx context.Context) error {
	present, missing, err := m.look(ctx)
	if err != nil {
		return err
	}
	if err := m.check(ctx, present); err != nil {
		return err
	}
	for _, t := range missing {
		if err := m.create(ctx, t); err != nil {
			return err
		}
	}
	var wait Backoff
	for made := missing; len(made) > 0; { // a broker that is asked next may not know of it yet
		if _, missing, err = m.look(ctx); err != nil {
			return err
		}
		if len(missing) == 0 {
			err = m.check(ctx, made)
		}
		if len(missing) == 0 && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return err
		}
		if !wait.Wait(ctx, nil) {
			return fmt.Errorf("the topics %s do not appear: %w", strings.Join(missing, ", "), context.Cause(ctx))
		}
	}
	return nil
}

// look tells which topics are there with all that belongs to them.
func (m migration) look(ctx context.Context) (present, missing []string, err error) {
	have, err := m.adm.ListTopics(ctx, m.cfg.allTopics()...)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range m.cfg.allTopics() {
		switch err := have[t].Err; {
		case !have.Has(t), errors.Is(err, kerr.UnknownTopicOrPartition):
			missing = append(missing, t)
		case err != nil:
			return nil, nil, fmt.Errorf("topic %s: %w", t, err)
		default:
			present = append(present, t)
		}
	}
	return present, missing, nil
}

// wanted is how many partitions and how long a life a topic has.
func (m migration) wanted(topic string) (partitions int, keep time.Duration) {
	if strings.HasSuffix(topic, deadSuffix) {
		return 1, keepDeadTime
	}
	return m.cfg.Partitions, keepTime
}

func (m migration) create(ctx context.Context, topic string) error {
	partitions, keep := m.wanted(topic)
	copies := int16(-1) // the broker's default
	settings := map[string]*string{
		"retention.ms":   new(strconv.FormatInt(keep.Milliseconds(), 10)),
		"cleanup.policy": new("delete"),
	}
	if m.cfg.Replication > 0 {
		copies = int16(min(m.cfg.Replication, 1<<15-1))
	}
	if m.cfg.Replication >= 3 { // else an acknowledgement could be one copy's alone
		settings["min.insync.replicas"] = new("2")
	}
	made, err := m.adm.CreateTopics(ctx, int32(min(partitions, 1<<15)), copies, settings, topic)
	if err == nil {
		err = made[topic].Err
	}
	switch {
	case err == nil, errors.Is(err, kerr.TopicAlreadyExists): // another migration was quicker
		return nil
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return &SettingError{kafkaCopiesName, fmt.Sprintf("%d copies of a topic need as many brokers", m.cfg.Replication), err}
	}
	return fmt.Errorf("make the topic %s: %w", topic, err)
}

// check refuses topics that do not hold what Nova relies upon.
func (m migration) check(ctx context.Context, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	have, err := m.adm.ListTopics(ctx, topics...)
	if err != nil {
		return err
	}
	set, err := m.adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return err
	}
	for _, t := range topics {
		partitions, keep := m.wanted(t)
		if n := len(have[t].Partitions); n < partitions {
			return kafkaWrong(fmt.Sprintf("the topic %s has %d partitions, %d are set: set as many as it has", t, n, partitions), nil)
		}
		if n := have[t].Partitions.NumReplicas(); n < m.cfg.Replication {
			return &SettingError{kafkaCopiesName, fmt.Sprintf("the topic %s has %d copies, %d are set: give it more, or set as many as it has", t, n, m.cfg.Replication), nil}
		}
		kept, err := keptFor(set, t)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(t, deadSuffix) && (kept < 0 || kept > keep) {
			return kafkaWrong(fmt.Sprintf("the topic %s keeps events for too long, repeats are recognised for little more than %v: lower its retention.ms", t, keep), nil)
		}
	}
	return nil
}

func keptFor(set kadm.ResourceConfigs, topic string) (time.Duration, error) {
	of, err := set.On(topic, nil)
	if err == nil {
		err = of.Err
	}
	if err != nil {
		return 0, fmt.Errorf("settings of the topic %s: %w", topic, err)
	}
	for _, c := range of.Configs {
		if c.Key == "retention.ms" {
			ms, err := strconv.ParseInt(c.MaybeValue(), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("retention.ms of the topic %s: %w", topic, err)
			}
			return time.Duration(ms) * time.Millisecond, nil
		}
	}
	return 0, fmt.Errorf("the topic %s has no retention.ms", topic)
}
