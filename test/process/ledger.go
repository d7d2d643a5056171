package process

import "encoding/json"

// Ledger is the last log line of a server that ended in order.
type Ledger struct {
	Accepted       int64  `json:"accepted"`
	Committed      int64  `json:"committed"`
	Rejected       int64  `json:"rejected"`
	Unknown        int64  `json:"unknown"`
	Acknowledged   int64  `json:"acknowledged"`
	SocketsClosed  int64  `json:"sockets_closed"`
	OutboxLeft     *int64 `json:"outbox_left"`
	GoroutinesLeft *int64 `json:"goroutines_left"`
	Duration       int64  `json:"duration_ms"`
}

// Ledger is what the process said last; nil if that was something else.
func (e Ended) Ledger() *Ledger {
	var l struct {
		Text string `json:"msg"`
		Ledger
	}
	if json.Unmarshal([]byte(e.Last), &l) != nil || l.Text != "shutdown ledger" {
		return nil
	}
	return &l.Ledger
}

// Balanced says whether every accepted send became one of three things.
func (l *Ledger) Balanced() bool { return l.Accepted == l.Committed+l.Rejected+l.Unknown }

// Settled says whether nothing was left in the outbox, and no goroutine. What a
// ledger does not say is not settled.
func (l *Ledger) Settled() (outbox, goroutines bool) {
	return l.OutboxLeft != nil && *l.OutboxLeft == 0, l.GoroutinesLeft != nil && *l.GoroutinesLeft == 0
}
