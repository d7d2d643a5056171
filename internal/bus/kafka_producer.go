package bus

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-chat/nova/internal/fault"
)

const (
	// publishTime is how long one Publish waits for acknowledgements.
	publishTime = 1500 * time.Millisecond
	// lingerTime is how long the client gathers records if nobody tells it to
	// send; Publish tells it.
	lingerTime = 10 * time.Millisecond
	// waveBytes is about how much is on its way at once for one Publish. With it
	// the part for one partition is one batch of Kafka, even if several services
	// publish to it at the same time, and is accepted or refused as a whole.
	waveBytes = 256 << 10
	// recordOverhead is about what the headers take.
	recordOverhead = 200
	// maxLeft bounds what is remembered of publishers that never came back.
	maxLeft = 4096
)

// producerOptions are those of the client that publishes.
//
// Acknowledged means: by all replicas in sync (the default), and written once
// however often the client had to send it (idempotence, the default). Nothing
// ends a record that may be on its way: no delivery timeout, no limit of
// retries, and no AllowIdempotentProduceCancellation. To end one would give up
// its place in the sequence, and what came after it could be written before its
// repeat. So after a Publish that ran out of time its records stay with the
// client, which goes on until they are acknowledged or refused; the repeat joins
// them (see [kafkaProducer.Publish]). Only a topic that is not there ends its
// records after a few questions, all of them together, since no record of it
// can have been written before another.
func producerOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(lingerTime),
		kgo.ProduceRequestTimeout(silentTime),
		kgo.UnknownTopicRetries(4),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	}
}

type kafkaProducer struct {
	client *kgo.Client
	cfg    *KafkaConfig

	sending sync.Mutex  // held while a wave is handed over, so that it is sent whole
	refused atomic.Bool // the last answer was a refusal

	mu   sync.Mutex // guards what follows
	left map[string]*handover
}

// handover is a record in the client's hands. err may be read when done is closed.
type handover struct {
	done chan struct{}
	err  error
}

func (h *handover) settled() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

func newKafkaProducer(client *kgo.Client, cfg *KafkaConfig) *kafkaProducer {
	return &kafkaProducer{client: client, cfg: cfg, left: map[string]*handover{}}
}

// Publish is part of Events. If it ran out of time, the batch has to be
// published again as with every error; what the client still has of it, or got
// acknowledged in the meantime, is not sent again but waited for.
func (k *Kafka) Publish(ctx context.Context, batch []Envelope) error {
	return k.producer.publish(ctx, batch)
}

func (p *kafkaProducer) publish(ctx context.Context, batch []Envelope) error {
	if err := validate(batch); err != nil {
		return err
	}
	for i := range batch {
		if len(batch[i].Payload)+len(batch[i].Key) > maxRecord {
			return fault.OnField(fault.CodeTooLarge, "payload", "an event is smaller")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	known := p.rejoin(batch)
	err := await(ctx, maps.Values(known))
	if err == nil {
		err = p.send(ctx, batch, known)
	}
	if err != nil {
		p.keep(known)
		return err
	}
	p.forget(batch)
	return nil
}

// rejoin finds what an earlier Publish of the same events left behind.
func (p *kafkaProducer) rejoin(batch []Envelope) map[string]*handover {
	known := make(map[string]*handover, len(batch))
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.left) == 0 {
		return known
	}
	for i := range batch {
		if h, ok := p.left[batch[i].ID]; ok {
			known[batch[i].ID] = h
		}
	}
	return known
}

// forget follows a batch that was accepted.
func (p *kafkaProducer) forget(batch []Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.left) == 0 {
		return
	}
	for i := range batch {
		delete(p.left, batch[i].ID)
	}
}

// keep remembers what is on its way or acknowledged, for the repeat.
func (p *kafkaProducer) keep(known map[string]*handover) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.left) > maxLeft {
		for id, h := range p.left {
			if h.settled() {
				delete(p.left, id)
			}
		}
	}
	for id, h := range known {
		if !h.settled() || h.err == nil {
			p.left[id] = h
		}
	}
}

// await waits until all are settled, whatever the outcome.
func await(ctx context.Context, all iter.Seq[*handover]) error {
	for h := range all {
		select {
		case <-h.done:
		case <-ctx.Done():
			return fault.Wrap(fault.CodeUnavailable, context.Cause(ctx), "Kafka has not acknowledged the events yet")
		}
	}
	return nil
}

// send hands over what is not acknowledged, in waves of which each waits for the
// one before it: should a part be refused, nothing that follows is written.
func (p *kafkaProducer) send(ctx context.Context, batch []Envelope, known map[string]*handover) error {
	for len(batch) > 0 {
		var wave []*handover
		wave, batch = p.wave(batch, known)
		if err := await(ctx, slices.Values(wave)); err != nil {
			return err
		}
		for _, h := range wave {
			p.refused.Store(h.err != nil)
			if h.err != nil {
				return fault.Wrap(fault.CodeUnavailable, h.err, "Kafka did not take the events")
			}
		}
	}
	return nil
}

// wave hands over the beginning of the batch and gives the rest.
func (p *kafkaProducer) wave(batch []Envelope, known map[string]*handover) (wave []*handover, rest []Envelope) {
	p.sending.Lock()
	defer p.sending.Unlock()
	defer p.push()
	size := 0
	for i := range batch {
		e := &batch[i]
		if h, ok := known[e.ID]; ok && (!h.settled() || h.err == nil) {
			continue // acknowledged, or twice in this wave
		}
		if size += len(e.Payload) + len(e.Key) + recordOverhead; size > waveBytes && len(wave) > 0 {
			return wave, batch[i:]
		}
		h := p.hand(p.cfg.record(e))
		wave = append(wave, h)
		if e.ID != "" {
			known[e.ID] = h
		}
	}
	return wave, nil
}

// hand gives a record to the client. That neither blocks nor can be taken back.
func (p *kafkaProducer) hand(r *kgo.Record) *handover {
	h := &handover{done: make(chan struct{})}
	p.client.TryProduce(context.Background(), r, func(_ *kgo.Record, err error) {
		h.err = err
		close(h.done)
	})
	return h
}

// push makes the client send what it has, without waiting for the answers.
func (p *kafkaProducer) push() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.client.Flush(now) // the error is that it did not wait
}

// degraded tells of what the brokers do not take although they answer.
func (p *kafkaProducer) degraded() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.left {
		if !h.settled() {
			return kafkaAway
		}
	}
	if p.refused.Load() {
		return kafkaRefuses
	}
	return ""
}
