package servers

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics returns what the names of a test's topics and groups may begin with.
// The topics are deleted when the test ends: a broker that holds all that a run
// of tests has made takes half a minute for the next one.
func Topics(t testing.TB, brokers []string) (prefix string) {
	t.Helper()
	prefix = "t-" + strings.ToLower(rand.Text())
	t.Cleanup(func() {
		if err := DropTopics(brokers, prefix); err != nil {
			t.Errorf("delete the topics of the test: %v", err)
		}
	})
	return prefix
}

// DropTopics deletes the topics whose names begin with the prefix and a dot.
func DropTopics(brokers []string, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	k := KafkaServer{Brokers: brokers}
	return k.client(func(c *kgo.Client) error {
		all, err := kadm.NewClient(c).ListTopics(ctx)
		if err != nil {
			return err
		}
		own := slices.DeleteFunc(all.Names(), func(name string) bool { return !strings.HasPrefix(name, prefix+".") })
		if len(own) > 0 {
			_, err = kadm.NewClient(c).DeleteTopics(ctx, own...)
		}
		return err
	})
}

// KafkaRecord is a record of a topic.
type KafkaRecord struct {
	Topic     string
	Partition int32
	Offset    int64
	At        time.Time // as the topic's message.timestamp.type has it
	Value     []byte
	Headers   map[string]string
}

// KafkaPlace is how far topics go: by topic and partition the offset of what
// comes next.
type KafkaPlace map[string]map[int32]int64

// End is where topics end.
func (k *KafkaServer) End(ctx context.Context, topics ...string) (KafkaPlace, error) {
	end := KafkaPlace{}
	err := k.client(func(c *kgo.Client) error {
		ends, err := kadm.NewClient(c).ListEndOffsets(ctx, topics...)
		if err == nil {
			err = ends.Error()
		}
		ends.Each(func(o kadm.ListedOffset) {
			if end[o.Topic] == nil {
				end[o.Topic] = map[int32]int64{}
			}
			end[o.Topic][o.Partition] = o.Offset
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the end of %v: %w", topics, err)
	}
	return end, nil
}

// Records calls fn with what is between two places, in the order of each
// partition.
func (k *KafkaServer) Records(ctx context.Context, from, to KafkaPlace, fn func(KafkaRecord)) error {
	left, places := int64(0), map[string]map[int32]kgo.Offset{}
	for topic, parts := range to {
		places[topic] = map[int32]kgo.Offset{}
		for p, end := range parts {
			begin := from[topic][p]
			left += end - begin
			places[topic][p] = kgo.NewOffset().At(begin)
		}
	}
	return k.client(func(c *kgo.Client) error {
		for left > 0 {
			fetched := c.PollFetches(ctx)
			if err := fetched.Err(); err != nil {
				return fmt.Errorf("read topics: %w", err)
			}
			fetched.EachRecord(func(r *kgo.Record) {
				if r.Offset >= to[r.Topic][r.Partition] {
					return
				}
				left--
				fn(recordOf(r))
			})
		}
		return nil
	}, kgo.ConsumePartitions(places))
}

func recordOf(r *kgo.Record) KafkaRecord {
	own := KafkaRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, At: r.Timestamp, Value: r.Value, Headers: map[string]string{}}
	for _, h := range r.Headers {
		own.Headers[h.Key] = string(h.Value)
	}
	return own
}

// Lead has the first of each partition's replicas lead it again, as after all
// nodes were started in their order.
func (k *KafkaServer) Lead(ctx context.Context) error {
	return k.client(func(c *kgo.Client) error {
		_, err := kadm.NewClient(c).ElectLeaders(ctx, kadm.ElectPreferredReplica, nil)
		return err
	})
}

func (k *KafkaServer) client(do func(*kgo.Client) error, opts ...kgo.Opt) error {
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(k.Brokers...))...)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}
