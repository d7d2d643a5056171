package bus

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-chat/nova/internal/obs"
)

const (
	watchEvery = 500 * time.Millisecond
	reachTime  = 1200 * time.Millisecond // one look at the brokers
	brokerTime = 600 * time.Millisecond  // of which for one broker
	lagEvery   = 2                       // looks
	lagTime    = 2 * time.Second
)

// watch looks after the brokers and after what waits for the queues.
func (k *Kafka) watch(ctx context.Context) {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		look, cancel := context.WithTimeout(ctx, reachTime)
		err := k.reach(look)
		cancel()
		if ended(ctx) {
			return
		}
		k.note(ctx, err)
		if err == nil && n%lagEvery == 0 {
			k.measure(ctx)
		}
	}
}

var errNoBroker = errors.New("no broker is known")

// reach is nil if one broker answers, whichever.
func (k *Kafka) reach(ctx context.Context) error {
	brokers := k.client.DiscoveredBrokers()
	if len(brokers) == 0 {
		brokers = k.client.SeedBrokers()
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
	err := errNoBroker
	for _, b := range brokers {
		if err = ask(ctx, b, req); err == nil || ended(ctx) {
			return err
		}
	}
	return err
}

func ask(ctx context.Context, b *kgo.Broker, req kmsg.Request) error {
	ctx, cancel := context.WithTimeout(ctx, brokerTime)
	defer cancel()
	_, err := b.Request(ctx, req)
	return err
}

// note keeps what a look gave, and logs what changed.
func (k *Kafka) note(ctx context.Context, err error) {
	now := ""
	if err != nil {
		now = kafkaAway
		if kafkaSetting(err) != nil {
			now = kafkaRefuses
		}
	}
	before := k.state.Swap(&now)
	switch {
	case before != nil && *before == now, before == nil && now == "":
	case now == "":
		k.log.LogAttrs(ctx, slog.LevelInfo, "Kafka answers again")
	default:
		k.log.LogAttrs(ctx, slog.LevelWarn, "events wait in the outbox", slog.String("reason", now), slog.String("setting", kafkaName), obs.Cause(err))
	}
}

// measure counts what waits for each queue: for its group, not for this node, so
// that what nobody works on is seen too. What is not known stays as it was.
func (k *Kafka) measure(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lagTime)
	defer cancel()
	k.mu.Lock()
	queues := k.queues
	k.mu.Unlock()
	adm := kadm.NewClient(k.client)
	for _, q := range queues {
		if n, err := groupLag(ctx, adm, q.name, q.topics); err == nil {
			q.lag.Store(n)
		}
	}
}

// groupLag is how many records a group has not said to have handled.
func groupLag(ctx context.Context, adm *kadm.Client, group string, topics []string) (n int64, err error) {
	done, err := adm.FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	begins, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return 0, err
	}
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return 0, err
	}
	for _, parts := range ends {
		for _, end := range parts {
			if end.Err != nil {
				return 0, end.Err
			}
			from := int64(0)
			if b, ok := begins.Lookup(end.Topic, end.Partition); ok && b.Err == nil {
				from = b.Offset
			}
			if c, ok := done.Lookup(end.Topic, end.Partition); ok && c.Err == nil {
				from = max(from, c.At)
			}
			n += max(0, end.Offset-from)
		}
	}
	return n, nil
}
