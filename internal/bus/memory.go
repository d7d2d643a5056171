package bus

import (
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

// Memory is the bus of a process that runs alone.
type Memory struct {
	fanout *memoryFanout
	events *memoryEvents
}

// NewMemory makes an empty bus; its consumers are goroutines of g.
func NewMemory(o *obs.Obs, g *run.Group) *Memory {
	return &Memory{fanout: newMemoryFanout(o), events: &memoryEvents{obs: o, group: g}}
}

// Fanout is the road to every node, which is this one: Publish calls the
// subscribers itself, one after the other, and returns when they have returned.
func (m *Memory) Fanout() Fanout { return m.fanout }

// Events is the road to the services. Publish returns when every group that
// wants the batch has handled it or set it aside, so that the outbox lets go of
// nothing before; a group that has to try again therefore holds up the publisher.
func (m *Memory) Events() Events { return m.events }
