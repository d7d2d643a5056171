package bus_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/test/servers"
)

// topicsOf tells how many partitions the topics have.
func topicsOf(t *testing.T, brokers []string) map[string]int {
	t.Helper()
	all, err := kadm.NewClient(rawKafka(t, brokers)).ListTopics(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int{}
	for _, d := range all {
		m[d.Topic] = len(d.Partitions)
	}
	return m
}

func TestMigrateMakesTopicsOnce(t *testing.T) {
	cfg := kafkaTopics(t, servers.Kafka(t)) // has migrated
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := bus.MigrateKafka(context.Background(), cfg); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	have := topicsOf(t, cfg.Brokers)
	for topic, want := range map[string]int{
		".accounts": 3, ".messaging": 3, ".other": 3, ".accounts.dead": 1, ".messaging.dead": 1, ".other.dead": 1,
	} {
		if got := have[cfg.Prefix+topic]; got != want {
			t.Errorf("%s has %d partitions, want %d", topic, got, want)
		}
	}
}

func TestMigrationsAtTheSameTime(t *testing.T) {
	cfg := bus.KafkaConfig{Brokers: fake(t).ListenAddrs(), Partitions: 2}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := bus.MigrateKafka(context.Background(), cfg); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// A broker that is asked for the settings of a topic may not know of it yet.
func TestMigrateWaitsForEveryBroker(t *testing.T) {
	c := fake(t)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.UnknownTopicOrPartition, Count: 2})
	if err := bus.MigrateKafka(context.Background(), bus.KafkaConfig{Brokers: c.ListenAddrs(), Partitions: 2}); err != nil {
		t.Error(err)
	}
}

func TestMigrateRefusesWhatItCannotRelyUpon(t *testing.T) {
	c := fake(t, kfake.NumBrokers(3))
	cfg := kafkaTopics(t, c.ListenAddrs())
	more := cfg
	more.Partitions = 4
	refused(t, bus.MigrateKafka(context.Background(), more), "has 3 partitions, 4 are set")
	if n := topicsOf(t, cfg.Brokers)[cfg.Prefix+".messaging"]; n != 3 {
		t.Errorf("the refused migration left %d partitions", n)
	}
	fewer := cfg
	fewer.Partitions = 2
	if err := bus.MigrateKafka(context.Background(), fewer); err != nil {
		t.Errorf("more partitions than set: %v", err)
	}
	many := bus.KafkaConfig{Brokers: cfg.Brokers, Prefix: "many", Replication: 9}
	err := bus.MigrateKafka(context.Background(), many)
	if set, ok := errors.AsType[*bus.SettingError](err); !ok || set.Setting != "kafka_copies" || set.Detail != "9 copies of a topic need as many brokers" {
		t.Errorf("got %v", err)
	}

	const long = "99999999999"
	if err := c.CreateTopic("long.messaging", 12, map[string]string{"retention.ms": long}); err != nil {
		t.Fatal(err)
	}
	refused(t, bus.MigrateKafka(context.Background(), bus.KafkaConfig{Brokers: cfg.Brokers, Prefix: "long"}), "keeps events for too long")
	if n := topicsOf(t, cfg.Brokers)["long.accounts"]; n != 0 {
		t.Error("the refused migration made topics")
	}
}

func TestMigrateWithoutABrokerSaysSo(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 1)
	defer cancel()
	if err := bus.MigrateKafka(ctx, bus.KafkaConfig{Brokers: []string{freePort(t)}}); err == nil || err.Error()[:6] != "kafka:" {
		t.Errorf("got %v", err)
	}
}
