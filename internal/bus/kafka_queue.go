package bus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-chat/nova/internal/obs"
)

const (
	// sessionTime is how long Kafka waits for a sign of life before it gives a
	// node's partitions to another one.
	sessionTime   = 15 * time.Second
	heartbeatTime = 3 * time.Second
	// revokeTime is how long a partition that goes to another node is held until
	// the event in work is done with; the handler's own time is shorter.
	revokeTime    = handlerTime + 5*time.Second
	rebalanceTime = revokeTime + 15*time.Second

	pollRecords = 1000
	fetchBytes  = 4 << 20
	fetchWait   = time.Second // a fetch without news; a stop may have to wait for it

	commitEvery = 100 * time.Millisecond
	commitTime  = 3 * time.Second
	leaveTime   = 2 * time.Second
)

// kafkaQueue is one queue's member of its group.
//
// The client fetches without waiting for the handlers: what it fetched goes to a
// worker for each partition, and a partition whose worker has enough is paused.
// So a handler that has to try again holds up its partition alone. Offsets are
// committed of what is handled, never of what was fetched. A rebalance is let in
// between two polls; before a partition goes, its worker ends with the event in
// work, and what it handled is committed.
type kafkaQueue struct {
	*consumer
	kafka  *Kafka
	name   string // of the group
	types  []string
	topics []string
	client *kgo.Client
	life   context.Context // of the client; ends when nothing may wait for Kafka any more
	end    context.CancelFunc
	lag    atomic.Int64

	releasing  sync.Mutex // one release after the other
	committing sync.Mutex // one commit after the other; none for what was released

	mu         sync.Mutex // guards what follows
	partitions map[place]*partition
}

// place names a partition.
type place struct {
	topic  string
	number int32
}

// Consume is part of Events. A group that is new begins with the oldest event
// that Kafka holds.
func (k *Kafka) Consume(queue obs.Queue, types []string, h func(context.Context, Envelope) error) {
	q := &kafkaQueue{
		consumer: newConsumer(k.obs, queue, h), kafka: k, name: k.cfg.Prefix + "." + queue.String(),
		types: types, topics: k.cfg.topicsOf(types), partitions: map[place]*partition{},
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, have := range k.queues {
		if have.queue == queue {
			panic(fmt.Sprintf("queue %v has a consumer already", queue))
		}
	}
	q.life, q.end = context.WithCancel(context.Background())
	var err error
	if q.client, err = kgo.NewClient(q.options()...); err != nil {
		panic(fmt.Sprintf("the options of queue %v: %v", queue, err)) // those of the connection held in NewKafka
	}
	k.queues = append(k.queues, q)
	k.obs.Metrics.QueueLag.Pull(queue, func() float64 { return float64(q.lag.Load()) })
	k.group.Worker("consumer "+queue.String(), stopTime+commitTime+2*leaveTime+time.Second, q.run)
}

func (q *kafkaQueue) options() []kgo.Opt {
	cfg := q.kafka.cfg
	opts, err := kafkaOptions(&cfg)
	if err != nil {
		panic(err) // NewKafka has had them checked
	}
	return append(opts,
		kgo.WithContext(q.life),
		kgo.ConsumerGroup(q.name),
		kgo.ConsumeTopics(q.topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, which map[string][]int32) {
			q.release(q.take(which), revokeTime, true)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, which map[string][]int32) {
			q.release(q.take(which), revokeTime, false) // somebody else has them already
		}),
		kgo.SessionTimeout(sessionTime),
		kgo.HeartbeatInterval(heartbeatTime),
		kgo.RebalanceTimeout(rebalanceTime),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(fetchBytes),
	)
}

// run reads until ctx ends.
func (q *kafkaQueue) run(ctx context.Context) {
	defer q.close()
	q.kafka.group.Go(ctx, "commits "+q.queue.String(), func(context.Context) { q.commits(ctx) })
	var wait Backoff
	for !ended(ctx) {
		fetched := q.client.PollRecords(ctx, pollRecords)
		fetched.EachPartition(func(f kgo.FetchTopicPartition) {
			if len(f.Records) > 0 {
				wait.Reset()
				q.at(ctx, place{f.Topic, f.Partition}).add(f.Records)
			}
		})
		q.client.AllowRebalance()
		if err := fetched.Err(); err != nil && !ended(ctx) {
			q.log.LogAttrs(q.own(ctx), slog.LevelWarn, "events not readable", slog.String("queue", q.queue.String()), obs.Cause(err))
			wait.Wait(ctx, nil)
		}
	}
}

// close gives everything back, so that another node can go on at once.
func (q *kafkaQueue) close() {
	defer q.end()
	q.release(q.take(nil), stopTime, true)
	if err := q.leave(); err != nil {
		q.log.LogAttrs(q.own(context.Background()), slog.LevelWarn, "the group was not left in order", slog.String("queue", q.queue.String()), obs.Cause(err))
	}
	q.client.CloseAllowingRebalance()
}

// leave leaves the group. While the group is put together anew the library waits
// for that, and Kafka for members that may be dead; then leave does not wait, and
// tells Kafka itself that this member is gone.
func (q *kafkaQueue) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	err := q.client.LeaveGroupContext(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	member, _ := q.client.GroupMetadata()
	if q.end(); member == "" {
		return nil
	}
	ctx, cancel = context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = q.name, member
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = member
	req.Members = append(req.Members, one)
	res, err := req.RequestWith(ctx, q.kafka.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(res.ErrorCode)
}

// own is the context of what has no event as its cause.
func (q *kafkaQueue) own(ctx context.Context) context.Context {
	return obs.WithCorrelation(ctx, obs.NewCorrelation())
}

// at gives the worker of a partition, started if there was none.
func (q *kafkaQueue) at(ctx context.Context, at place) *partition {
	q.mu.Lock()
	defer q.mu.Unlock()
	p, ok := q.partitions[at]
	if !ok {
		p = newPartition(q, at)
		q.partitions[at] = p
		q.kafka.group.Go(ctx, "partition "+at.topic, func(context.Context) { p.run(ctx) })
	}
	return p
}

// take removes partitions, all of them for nil: from here on nothing of them is
// committed but by who took them.
func (q *kafkaQueue) take(which map[string][]int32) (taken []*partition) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for at, p := range q.partitions {
		if which == nil || slices.Contains(which[at.topic], at.number) {
			taken = append(taken, p)
			delete(q.partitions, at)
		}
	}
	return taken
}

// release ends the workers and commits what they have handled. A handler that
// does not end in time is left to itself, and what it does is not committed.
func (q *kafkaQueue) release(taken []*partition, patience time.Duration, commit bool) {
	q.releasing.Lock()
	defer q.releasing.Unlock()
	for _, p := range taken {
		close(p.stop)
	}
	late := time.After(patience)
	var done []*partition
	for _, p := range taken {
		select {
		case <-p.done:
			done = append(done, p)
		case <-late:
			late = time.After(0)
			q.log.LogAttrs(q.own(context.Background()), slog.LevelError, "an event handler does not end",
				slog.String("queue", q.queue.String()), slog.String("topic", p.topic), slog.Int("partition", int(p.number)))
		}
		p.resume()
	}
	if commit {
		q.committing.Lock()
		defer q.committing.Unlock()
		q.commit(done)
	}
}

// commits commits what is handled until ctx ends.
func (q *kafkaQueue) commits(ctx context.Context) {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	var wait Backoff
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if q.commitAll() {
			wait.Reset()
		} else {
			wait.Wait(ctx, nil)
		}
	}
}

func (q *kafkaQueue) commitAll() bool {
	q.committing.Lock()
	defer q.committing.Unlock()
	q.mu.Lock()
	all := make([]*partition, 0, len(q.partitions))
	for _, p := range q.partitions {
		all = append(all, p)
	}
	q.mu.Unlock()
	return q.commit(all)
}

// commit tells Kafka what is handled; it is false if that failed, which makes
// events come again and nothing else. The caller holds committing.
func (q *kafkaQueue) commit(all []*partition) bool {
	var records []*kgo.Record
	var of []*partition
	for _, p := range all {
		if r := p.handled.Load(); r != p.committed {
			records, of = append(records, r), append(of, p)
		}
	}
	if len(records) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTime)
	defer cancel()
	if err := q.client.CommitRecords(ctx, records...); err != nil {
		q.log.LogAttrs(q.own(ctx), slog.LevelWarn, "handled events not noted yet", slog.String("queue", q.queue.String()), obs.Cause(err))
		return false
	}
	for i, p := range of {
		p.committed = records[i]
	}
	return true
}
