package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nova-chat/nova/internal/auth/authpb"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

func TestEveryCodeCrosses(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		for _, code := range fault.Codes() {
			sent := fault.Wrap(code, errors.New("row 7 is locked"), "Say it otherwise.").After(1500 * time.Millisecond)
			sent.Fields = []fault.Field{{Name: "ids[2]", Detail: "an identifier"}}
			r.answer(func(context.Context, *authpb.AccountsRequest) error { return fmt.Errorf("accounts: %w", sent) })
			_, err := client.Accounts(soon(t), &authpb.AccountsRequest{})
			got, ok := errors.AsType[*fault.Error](err)
			if !ok || got.Code != code {
				t.Errorf("%v arrived as %v", code, err)
				continue
			}
			if strings.Contains(err.Error(), "row 7") {
				t.Errorf("%v: the cause crossed: %v", code, err)
			}
			if code == fault.CodeInternal {
				if got.Detail != "" || got.Fields != nil {
					t.Errorf("an internal error says something: %+v", got)
				}
				continue
			}
			if got.Detail != sent.Detail || got.RetryAfter != sent.RetryAfter {
				t.Errorf("%v: detail %q, retry after %v", code, got.Detail, got.RetryAfter)
			}
			if diff := cmp.Diff(sent.Fields, got.Fields); diff != "" {
				t.Errorf("%v: fields (-sent +arrived):\n%s", code, diff)
			}
		}
	})
}

func TestWhatIsNoFaultCrossesAsInternalAndSaysNothing(t *testing.T) {
	everyWay(t, func(t *testing.T, r *rig, _ *obs.Obs, client authpb.AuthClient) {
		r.answer(func(context.Context, *authpb.AccountsRequest) error {
			return errors.New("open /srv/nova/auth.db: denied")
		})
		_, err := client.Accounts(obs.WithCorrelation(soon(t), "test-123"), &authpb.AccountsRequest{})
		if !fault.Is(err, fault.CodeInternal) || strings.Contains(err.Error(), "auth.db") {
			t.Errorf("arrived: %v", err)
		}
		if l := r.log.String(); !strings.Contains(l, "auth.db") || !strings.Contains(l, `"correlation_id":"test-123"`) || !strings.Contains(l, `"op":"auth.Accounts"`) {
			t.Errorf("the log lacks the cause, the correlation or the operation: %s", l)
		}
	})
}

func TestDetailThatIsNotTextDoesNotLoseTheCode(t *testing.T) {
	err := toStatus(fault.OnField(fault.CodeTooLong, "name\xff", "shorter"))
	if got := fromStatus(err); got.Code != fault.CodeTooLong {
		t.Errorf("arrived as %v", got)
	}
}

func TestEveryKindHasAStatus(t *testing.T) {
	for k := fault.Kind(0); k.String() != ""; k++ {
		if int(k) >= len(statuses) || statuses[k] == codes.OK {
			t.Errorf("kind %s has no status", k)
		}
	}
}

func TestStatusOfTheTransport(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fault.Code
	}{
		{status.Error(codes.Unavailable, "connection refused"), fault.CodeUnavailable},
		{status.Error(codes.DeadlineExceeded, ""), fault.CodeTimeout},
		{status.Error(codes.Canceled, ""), fault.CodeCanceled},
		{status.Error(codes.ResourceExhausted, "grpc: received message larger than max"), fault.CodeTooLarge},
		{status.Error(codes.Unauthenticated, "from a proxy"), fault.CodeInternal},
		{errNoMethod, fault.CodeInternal},
		{context.DeadlineExceeded, fault.CodeTimeout},
		{errors.New("something"), fault.CodeInternal},
	} {
		if got := fromStatus(c.err); got.Code != c.want || got.Detail != "" {
			t.Errorf("%v gives %v", c.err, got)
		}
	}
}
