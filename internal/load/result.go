package load

import (
	"fmt"
	"maps"
	"strings"
)

// Result is what came of a run.
type Result struct {
	Options Options `json:"options"`
	Version string  `json:"version"` // of the target

	Seconds       float64 `json:"seconds"` // measured
	SendsPerS     float64 `json:"sends_per_s"`
	DeliveriesPer float64 `json:"deliveries_per_s"`
	Ack           Latency `json:"ack"`      // due to answered
	Delivery      Latency `json:"delivery"` // due to received, at each other device
	Connect       Latency `json:"connect"`  // dial to live

	Ledger     Ledger         `json:"ledger"`
	Errors     map[string]int `json:"errors"` // error answers by code
	Closes     map[int]int    `json:"closes"` // sockets that ended, by close code; 1006 = without one
	Reconnects int64          `json:"reconnects"`
	Attempts   int64          `json:"failed_reconnects"`
	Connected  int64          `json:"connected"` // at the end of the measurement
	Devices    int            `json:"devices"`
	FirstError string         `json:"first_error,omitempty"`

	Unsent      int  `json:"unsent"`      // due in the open loop and never sent
	Saturated   bool `json:"saturated"`   // the open loop was given up: the target could not follow
	Interrupted bool `json:"interrupted"` // ended before its time
}

func (r *runner) result(seconds float64) Result {
	m := &r.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	return Result{
		Options: r.opts, Seconds: seconds,
		SendsPerS: float64(m.ackedIn.Load()) / seconds, DeliveriesPer: float64(m.deliveredIn.Load()) / seconds,
		Ack: m.ack.latency(), Delivery: m.delivery.latency(), Connect: m.connect.latency(),
		Errors: maps.Clone(m.errors), Closes: maps.Clone(m.closes), Reconnects: m.reconnects.Load(), Attempts: m.attempts.Load(),
		Connected: m.connected.Load(), Devices: len(r.devices), FirstError: m.first, Saturated: r.saturated.Load(),
	}
}

// Verdict lists what is wrong with a result, in sentences; none = all is well.
func (r Result) Verdict() []string {
	var bad []string
	say := func(n int, what string) {
		if n > 0 {
			bad = append(bad, fmt.Sprintf("%d %s", n, what))
		}
	}
	l := r.Ledger
	say(l.Lost, "lost")
	say(l.Duplicates, "duplicates")
	say(l.Misordered, "misordered")
	say(l.Unexpected, "unexpected")
	say(l.Holes, "sequences left out")
	if !r.Options.Reconnect {
		say(r.Devices-int(r.Connected), "sockets closed by the server (with --reconnect they would come back)")
	} else {
		say(l.Unfetched, "deliveries due at devices that could not come back")
	}
	return bad
}

// String is the result for people.
func (r Result) String() string {
	var b strings.Builder
	l := r.Ledger
	fmt.Fprintf(&b, "%s, %.1f s, %d devices, Nova %s\n", r.Options.Scenario, r.Seconds, r.Devices, orDefault(r.Version, "of unknown version"))
	if r.Options.Scenario != Idle {
		fmt.Fprintf(&b, "  sends       %10.0f /s    ack       %s\n", r.SendsPerS, r.Ack)
		fmt.Fprintf(&b, "  deliveries  %10.0f /s    delivery  %s\n", r.DeliveriesPer, r.Delivery)
	}
	fmt.Fprintf(&b, "  connect                     %s\n", r.Connect)
	fmt.Fprintf(&b, "  sent %d = acked %d + refused %d + indeterminate %d\n", l.Sent, l.Acked, l.Refused, l.Indeterminate)
	if l.Verified {
		fmt.Fprintf(&b, "  stored %d (indeterminate ones %d), acked and not stored %d, holes %d\n", l.Stored, l.IndeterminateStored, l.AckedNotStored, l.Holes)
	}
	fmt.Fprintf(&b, "  due %d, delivered %d: lost %d, duplicates %d (on the wire %d), misordered %d, unexpected %d\n",
		l.Due, l.Delivered, l.Lost, l.Duplicates, l.DuplicatesOnWire, l.Misordered, l.Unexpected)
	r.notes(&b)
	return b.String()
}

func (l Latency) String() string {
	return fmt.Sprintf("p50 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms", l.P50, l.P99, l.P999, l.Max)
}

func (r Result) notes(b *strings.Builder) {
	if r.Reconnects > 0 || len(r.Closes) > 0 {
		fmt.Fprintf(b, "  reconnects %d (failed attempts %d), sockets ended by code %v\n", r.Reconnects, r.Attempts, r.Closes)
	}
	if len(r.Errors) > 0 {
		fmt.Fprintf(b, "  error answers %v, the first: %.200s\n", r.Errors, r.FirstError)
	}
	if r.Errors["rate_limited"] > 0 {
		b.WriteString("  the figures are those of a rate limit: raise NOVA_LIMITS_MESSAGES_PER_USER, NOVA_LIMITS_MESSAGES_PER_CONVERSATION\n" +
			"  or NOVA_LIMITS_FRAMES_PER_SOCKET at the server (nova config print shows what is in force)\n")
	}
	if r.Saturated || r.Unsent > 0 {
		fmt.Fprintf(b, "  the target could not follow: %d messages were due and never sent\n", r.Unsent)
	}
	if r.Interrupted {
		b.WriteString("  interrupted before its time\n")
	}
}
