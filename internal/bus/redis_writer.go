package bus

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

const (
	// queueLength is how many batches may wait for the writer. Hints beyond it
	// are lost: Redis is slower than they come.
	queueLength = 1024
	// writeBatch is how many envelopes go out in one round trip, a batch that is
	// larger by itself excepted.
	writeBatch = 512
)

// redisWriter takes batches to the stream, all that wait in one round trip.
type redisWriter struct {
	*Redis
	client *redis.Client
	queue  chan *writeJob
	gone   chan struct{} // closed when nobody takes from the queue any more
	all    []*writeJob   // of the round trip, reused
	adds   []redis.Cmder
}

// writeJob is one batch. It belongs to the writer once it is queued.
type writeJob struct {
	batch []Envelope
	epoch string
	done  chan error // has room for one; nil for hints, for which nobody waits
	end   time.Time  // when nobody waits any more
}

func newRedisWriter(r *Redis, c *redis.Client) *redisWriter {
	return &redisWriter{Redis: r, client: c, queue: make(chan *writeJob, queueLength), gone: make(chan struct{})}
}

var (
	errAway = fault.New(fault.CodeUnavailable, "the fan-out between nodes is down")
	errBusy = fault.New(fault.CodeOverloaded, "the fan-out between nodes is slower than what is to be published")
	errLate = fault.New(fault.CodeUnavailable, "the fan-out between nodes did not answer in time")
)

// publish copies the envelopes, so that the caller has its slice back even if
// the writer is still busy with them.
func (w *redisWriter) publish(ctx context.Context, batch []Envelope) error {
	if err := ctx.Err(); err != nil {
		return fault.From(err)
	}
	if len(batch) == 0 {
		return nil
	}
	select {
	case <-w.gone:
		return errStopped
	default:
	}
	if !w.up() {
		return errAway
	}
	j := &writeJob{batch: w.fitting(ctx, batch), epoch: w.epoch(), end: time.Now().Add(answerTime)}
	if !slices.ContainsFunc(batch, func(e Envelope) bool { return e.Pos != 0 }) {
		return w.offer(j)
	}
	j.done = make(chan error, 1)
	ctx, cancel := context.WithDeadlineCause(ctx, j.end, errLate)
	defer cancel()
	return w.await(ctx, j)
}

// offer queues hints if there is room.
func (w *redisWriter) offer(j *writeJob) error {
	select {
	case w.queue <- j:
		return nil
	default:
		return errBusy
	}
}

// await queues positions and waits for what becomes of them.
func (w *redisWriter) await(ctx context.Context, j *writeJob) error {
	select {
	case w.queue <- j:
	case <-w.gone:
		return errStopped
	case <-ctx.Done():
		return gaveUp(ctx)
	}
	select {
	case err := <-j.done:
		return err
	case <-w.gone:
		return errStopped
	case <-ctx.Done():
		return gaveUp(ctx)
	}
}

// gaveUp is retryable whatever ended the wait: the batch may be in the stream.
func gaveUp(ctx context.Context) error {
	return fault.Wrap(fault.CodeUnavailable, context.Cause(ctx), "an envelope was not published in time")
}

// fitting is a copy of the batch without what is too large.
func (w *redisWriter) fitting(ctx context.Context, batch []Envelope) []Envelope {
	return slices.DeleteFunc(slices.Clone(batch), func(e Envelope) bool {
		if len(e.Payload) <= maxPayload {
			return false
		}
		w.obs.Metrics.EventFailures.Inc(obs.BusMalformed)
		w.log.LogAttrs(obs.WithCorrelation(ctx, e.Correlation), slog.LevelError, "an envelope is too large for the fan-out",
			slog.String("reason", obs.BusMalformed.String()), slog.String("type", e.Type), slog.Int64("pos", e.Pos), slog.Int("bytes", len(e.Payload)))
		return true
	})
}

// probe asks for an entry that Redis always refuses, to learn whether it would
// refuse all of them: a right that is missing shall be told at the start.
func (w *redisWriter) probe(ctx context.Context) error {
	pipe := w.client.TxPipeline()
	add := pipe.XAdd(ctx, &redis.XAddArgs{Stream: w.stream, ID: "0-0", Values: []string{fieldType, ""}})
	_, err := pipe.Exec(ctx)
	err = refusedBy(err, []redis.Cmder{add})
	if err == nil || redis.HasErrorPrefix(err, "The ID specified in XADD must be greater than 0-0") {
		return nil
	}
	return err
}

// run writes until the process stops, and then once more what waits.
func (w *redisWriter) run(ctx context.Context) {
	defer func() { _ = w.client.Close() }()
	defer close(w.gone)
	for {
		select {
		case j := <-w.queue:
			w.write(j)
		case <-ctx.Done():
			for len(w.queue) > 0 {
				w.write(<-w.queue)
			}
			return
		}
	}
}

// write takes a batch, and what else waits, to Redis.
func (w *redisWriter) write(j *writeJob) {
	w.all = w.all[:0]
	w.take(j)
	for n := len(j.batch); n < writeBatch && len(w.queue) > 0; {
		next := <-w.queue
		w.take(next)
		n += len(next.batch)
	}
	w.answer(w.send())
	clear(w.all)
	clear(w.adds)
}

// take adds a batch to the round trip, unless nobody waits for it any more:
// what its publisher repeats needs no repeat from here.
func (w *redisWriter) take(j *writeJob) {
	if j.done != nil && time.Now().After(j.end) {
		j.done <- errLate
		return
	}
	w.all = append(w.all, j)
}

// send is one transaction: a failure in its middle must not let the end of a
// batch overtake its beginning, and a reader gets it at once instead of in two
// parts.
func (w *redisWriter) send() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	w.adds = w.adds[:0]
	for _, j := range w.all {
		for i := range j.batch {
			w.adds = append(w.adds, addCommand(ctx, &w.stream, &j.epoch, &w.cfg.Length, &j.batch[i]))
		}
	}
	if len(w.adds) == 0 {
		return nil
	}
	pipe := w.client.TxPipeline()
	if err := pipe.BatchProcess(ctx, w.adds...); err != nil {
		return err
	}
	_, err := pipe.Exec(ctx)
	return refusedBy(err, w.adds)
}

// refusedBy is what the commands say of a transaction that failed: it says
// itself only that it did.
func refusedBy(err error, all []redis.Cmder) error {
	const abort = "EXECABORT"
	if !redis.HasErrorPrefix(err, abort) {
		return err
	}
	for _, c := range all {
		if own := c.Err(); own != nil && !redis.HasErrorPrefix(own, abort) {
			return own
		}
	}
	return err
}

// answer counts the hints that are lost and then tells whoever waits.
func (w *redisWriter) answer(err error) {
	if err == nil {
		w.refused.Store(false)
	} else {
		if redisAnswered(err) {
			w.refused.Store(true)
		}
		w.loseHints(err)
		err = fault.Wrap(fault.CodeUnavailable, err, "the fan-out between nodes failed")
	}
	for _, j := range w.all {
		if j.done != nil {
			j.done <- err
		}
	}
}

func (w *redisWriter) loseHints(err error) {
	lost := 0
	var cause obs.Correlation // of the first that was lost
	for _, j := range w.all {
		if j.done != nil {
			continue
		}
		if lost == 0 && len(j.batch) > 0 { // what did not fit was left out
			cause = j.batch[0].Correlation
		}
		lost += len(j.batch)
	}
	if lost > 0 {
		w.obs.Metrics.EventFailures.Add(obs.BusUnavailable, lost)
		w.log.LogAttrs(obs.WithCorrelation(context.Background(), cause), slog.LevelWarn, "hints were lost", slog.Int("hints", lost), slog.String("reason", obs.BusUnavailable.String()), obs.Cause(err))
	}
}
