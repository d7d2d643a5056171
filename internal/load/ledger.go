package load

// Ledger accounts for every message of a run. With everything in order
// Sent = Acked + Refused + Indeterminate, Delivered = Due, and the rest is 0.
type Ledger struct {
	Sent          int `json:"sent"`          // messages handed to a socket, repeats not counted
	Acked         int `json:"acked"`         // answered with sent: committed and fsynced
	Refused       int `json:"refused"`       // the last answer was a definite error
	Indeterminate int `json:"indeterminate"` // no answer, or one that leaves open whether it is stored

	Verified            bool `json:"verified"`             // the log was read over REST and compared
	Stored              int  `json:"stored"`               // of the sent ones, found in the log
	AckedNotStored      int  `json:"acked_not_stored"`     // also counted as lost
	RefusedStored       int  `json:"refused_stored"`       // seen although refused; also counted as unexpected
	IndeterminateStored int  `json:"indeterminate_stored"` // fine either way
	Holes               int  `json:"holes"`                // sequences that the log leaves out

	Due              int `json:"due"`       // deliveries: each message that is known to exist, at each other device
	Delivered        int `json:"delivered"` // of those
	Lost             int `json:"lost"`      // due and not delivered, and acknowledged ones that are not stored
	Unfetched        int `json:"unfetched"` // due at devices that were gone when the run ended
	Duplicates       int `json:"duplicates"`
	DuplicatesOnWire int `json:"duplicates_on_wire"` // repeats after a reconnect, which clients drop
	Misordered       int `json:"misordered"`
	Unexpected       int `json:"unexpected"` // not sent by this run, altered, or one sequence used twice
}

// OK says whether nothing was lost, doubled, misordered or made up.
func (l Ledger) OK() bool {
	return l.Lost == 0 && l.Duplicates == 0 && l.Misordered == 0 && l.Unexpected == 0 && l.Holes == 0
}

// account adds the conversation to the ledger.
func (c *conversation) account(l *Ledger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.byID {
		l.Sent++
		switch {
		case m.acked:
			l.Acked++
		case m.refused && m.seq > 0:
			l.RefusedStored++
			l.Unexpected++
			fallthrough
		case m.refused:
			l.Refused++
		default:
			l.Indeterminate++
		}
	}
	for i, m := range c.bySeq {
		if m != nil {
			c.deliveries(l, m, c.base+1+int64(i))
		}
	}
	l.Duplicates += c.faults.duplicates
	l.DuplicatesOnWire += c.faults.duplicatesOnWire
	l.Misordered += c.faults.misordered
	l.Unexpected += c.faults.unexpected
}

func (c *conversation) deliveries(l *Ledger, m *message, seq int64) {
	for _, in := range c.inboxes {
		if in == m.from {
			continue
		}
		l.Due++
		switch {
		case in.has(seq):
			l.Delivered++
		case in.gone:
			l.Unfetched++
		default:
			l.Lost++
		}
	}
}

// logged is one message as the log has it.
type logged struct {
	ID          string `json:"id"`
	Seq         int64  `json:"seq"`
	SenderID    string `json:"sender_id"`
	DeviceID    string `json:"device_id"`
	ClientMsgID string `json:"client_msg_id"`
	Body        string `json:"body"`
	Version     int64  `json:"version"`
}

// reconcile compares the log, in ascending order, with what was sent.
func (c *conversation) reconcile(l *Ledger, log []logged) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stored, next := map[*message]bool{}, c.base+1
	for _, e := range log {
		if !c.judged(e.Seq) {
			continue
		}
		if e.Seq < next {
			l.Misordered++
			continue
		}
		l.Holes += int(e.Seq - next)
		next = e.Seq + 1
		id, ok := parseUUID([]byte(e.ClientMsgID))
		m := c.byID[id]
		if !ok || m == nil || !c.isBody(id, []byte(e.Body)) {
			c.alien(e.Seq)
			continue
		}
		stored[m] = true
		c.place(m, e.Seq)
	}
	for _, m := range c.byID {
		c.settle(l, m, stored[m])
	}
}

// alien counts a stored message that the run did not send, unless a device has
// received it and it was counted then.
func (c *conversation) alien(seq int64) {
	for _, in := range c.inboxes {
		if in.has(seq) {
			return
		}
	}
	c.faults.unexpected++
}

func (c *conversation) settle(l *Ledger, m *message, stored bool) {
	switch {
	case stored:
		l.Stored++
		if !m.acked && !m.refused {
			l.IndeterminateStored++
		}
	case m.acked:
		l.AckedNotStored++
		l.Lost++
	}
}
