package bus

import (
	"context"

	"github.com/nova-chat/nova/internal/obs"
)

// Fanout carries envelopes to every node. What a node has done with them is
// counted by its subscriber: the bus cannot know.
type Fanout interface {
	// Publish hands a batch over, in Pos order. The slice is free again when it
	// returns; the payloads must never change. A malformed envelope refuses the
	// whole batch with a fault of kind Invalid; any other error means that the
	// batch, or a part of it, has to be published again.
	Publish(ctx context.Context, batch []Envelope) error

	// Subscribe calls h with everything that is published from now on anywhere,
	// until cancel. h must be quick, must not keep or change the slice, and must
	// stand being called by several goroutines, as hints overtake. name is for
	// the log.
	Subscribe(name string, h func(ctx context.Context, batch []Envelope)) (cancel func())
}

// Events carries envelopes to the services that want to know, each in its own
// group.
type Events interface {
	// Publish hands a batch over, in order. It may return before the consumers
	// have handled it only if the batch is stored by then. Errors are those of
	// Fanout.Publish.
	Publish(ctx context.Context, batch []Envelope) error

	// Consume calls h with every event of the types (nil: of all), one at a time,
	// until the process stops. A queue has one consumer in a process. h has 30 s;
	// what its errors mean is told in the package's documentation.
	Consume(queue obs.Queue, types []string, h func(ctx context.Context, e Envelope) error)
}
