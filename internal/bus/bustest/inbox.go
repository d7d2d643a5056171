package bustest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
)

// patience is how long a check waits for what has to come.
const patience = 10 * time.Second

// inbox notes what arrived: each envelope once, in the order of first arrivals.
type inbox struct {
	mu    sync.Mutex
	order []string
	seen  map[string]bus.Envelope
}

func newInbox() *inbox { return &inbox{seen: map[string]bus.Envelope{}} }

func (in *inbox) take(_ context.Context, e bus.Envelope) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, repeat := in.seen[e.ID]; !repeat {
		in.order = append(in.order, e.ID)
		in.seen[e.ID] = e
	}
	return nil
}

func (in *inbox) takeBatch(ctx context.Context, batch []bus.Envelope) {
	for _, e := range batch {
		_ = in.take(ctx, e)
	}
}

func (in *inbox) ids() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.order)
}

func (in *inbox) envelope(id string) bus.Envelope {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.seen[id]
}

// want waits for exactly these, in this order.
func (in *inbox) want(want ...string) error {
	return eventually(func() error { return differ(in.ids(), want) })
}

// wantSet waits for exactly these, in any order.
func (in *inbox) wantSet(want []string) error {
	want = slices.Sorted(slices.Values(want))
	return eventually(func() error { return differ(slices.Sorted(slices.Values(in.ids())), want) })
}

// wantLast waits for these, in this order, at the end.
func (in *inbox) wantLast(want ...string) error {
	return eventually(func() error {
		got := in.ids()
		return differ(got[max(0, len(got)-len(want)):], want)
	})
}

func differ(got, want []string) error {
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("got %d events %v, want %d %v", len(got), got, len(want), want)
}

// eventually asks until the answer is nil or patience is over.
func eventually(ask func() error) error {
	deadline, wait := time.Now().Add(patience), time.Millisecond
	for {
		err := ask()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(wait)
		wait = min(2*wait, 50*time.Millisecond)
	}
}

func sample(n int64) bus.Envelope {
	return bus.Envelope{
		ID: "e" + strconv.FormatInt(n, 10), Type: "sample", Key: "conversation", Seq: n, Pos: n, At: time.Now(),
		Correlation: obs.Correlation("test-" + strconv.FormatInt(n, 10)), Trace: obs.Trace(fmt.Sprintf("00-%032x-%016x-01", n, n)), Origin: "socket", Payload: []byte(`{"n":"` + "\x00ü" + `"}`),
	}
}

// numbered makes e1 to e<to>.
func numbered(to int) (list []bus.Envelope) {
	for n := 1; n <= to; n++ {
		list = append(list, sample(int64(n)))
	}
	return list
}

func ids(list []bus.Envelope) (out []string) {
	for _, e := range list {
		out = append(out, e.ID)
	}
	return out
}

// same compares envelopes; times to the millisecond, as they travel.
func same(got, want bus.Envelope) error {
	if got.At.UnixMilli() != want.At.UnixMilli() {
		return fmt.Errorf("%s was accepted at %v, arrived with %v", want.ID, want.At, got.At)
	}
	payload := bytes.Equal(got.Payload, want.Payload)
	got.At, got.Payload = want.At, want.Payload
	if fmt.Sprint(got) != fmt.Sprint(want) || !payload {
		return fmt.Errorf("sent %+v, arrived %+v (same payload: %v)", want, got, payload)
	}
	return nil
}

type mark struct{}

// foreign finds what a handler's context has of the publisher's.
func foreign(ctx context.Context) error {
	if ctx.Value(mark{}) != nil {
		return errors.New("the handler sees a value of the publisher's context")
	}
	if d, ok := ctx.Deadline(); ok && time.Until(d) < patience+time.Second {
		return errors.New("the handler has the publisher's deadline")
	}
	return nil
}

// metric reads one series as a scrape gives it; -1 if it is not there.
func metric(o *obs.Obs, series string) float64 {
	rec := httptest.NewRecorder()
	o.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(rec.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				return v
			}
		}
	}
	return -1
}
