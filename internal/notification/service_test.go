package notification

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestItStartsStopsAndSaysSo(t *testing.T) {
	var out bytes.Buffer
	o, err := obs.New(obs.Config{Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	s, err := New(Deps{Obs: o, Group: g})
	if err != nil {
		t.Fatal(err)
	}
	Routes(nil, nil) // for documents there is no service
	Routes(nil, s)
	s.Register(noCalls{t})
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r := g.Stop(context.Background()); r.Err() != nil || r.GoroutinesLeft != 0 || len(r.Steps) != 1 || r.Steps[0].Name != "notification" {
		t.Errorf("stop: %+v", r)
	}
	for _, want := range []string{"no routes yet", `"op":"notification.start"`, `"op":"notification.stop"`, `"service":"notification"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %s: %s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "correlation_id"); n != 2 {
		t.Errorf("%d of 2 lines have a correlation ID", n)
	}
}

func TestItNeedsItsGround(t *testing.T) {
	if _, err := New(Deps{}); err == nil {
		t.Error("made out of nothing")
	}
}

// noCalls fails when something is registered: the package doc says there is
// nothing.
type noCalls struct{ t *testing.T }

func (n noCalls) RegisterService(d *grpc.ServiceDesc, _ any) {
	n.t.Errorf("%s is registered; the package doc says that there is no RPC", d.ServiceName)
}
