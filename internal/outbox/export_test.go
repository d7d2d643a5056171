package outbox

// Share makes the outbox take its database for one that others write to.
func (ob *Outbox) Share() { ob.shared = true }

// Leads says whether this process relays.
func (ob *Outbox) Leads() bool { return ob.leads() }

// Waiting says whether somebody waits for a cursor to move.
func (ob *Outbox) Waiting() bool {
	ob.mu.Lock()
	defer ob.mu.Unlock()
	return ob.moved != nil
}
