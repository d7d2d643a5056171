package bus

import (
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// Envelope is what travels. It is never changed once it was published.
type Envelope struct {
	ID          string          // unique; consumers recognise repeats by it
	Type        string          // such as "message.sent"
	Key         string          // what the order is kept for, such as a conversation
	Seq         int64           // number within Key, 0 if there is none
	Pos         int64           // number of the commit order of one database; 0 for a hint, which is stored nowhere
	At          time.Time       // when the cause was accepted; monotonic inside a process
	Correlation obs.Correlation // the cause
	Trace       obs.Trace       // that the cause is in, "" if none; not stored, so it may be lost in an outage
	Origin      string          // the socket that must not get it back, if any
	Payload     []byte
}

// Validate refuses what nobody could handle or trace, with a fault of kind Invalid.
func (e *Envelope) Validate() error {
	if e.Type == "" {
		return fault.OnField(fault.CodeBadRequest, "type", "an envelope has a type")
	}
	if _, ok := obs.ParseCorrelation(string(e.Correlation)); !ok {
		return fault.OnField(fault.CodeBadRequest, "correlation_id", "1 to 64 of A-Z a-z 0-9 . _ -")
	}
	return nil
}

func validate(batch []Envelope) error {
	for i := range batch {
		if err := batch[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}
