package outbox

// Share makes the outbox take its database for one that others write to.
func (ob *Outbox) Share() { ob.shared = true }

// Leads says whether this process relays.
func (ob *Outbox) Leads() bool { return ob.leads() }
