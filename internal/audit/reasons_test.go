package audit_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/audit"
)

func TestReasons(t *testing.T) {
	mapped := all(
		swap(`login_failures_total{reason="wrong_password"}`, `login_failures_total{reason="user_not_found"}`),
		swap(`identity_refusals_total{reason="revoked"}`, `identity_refusals_total{reason="expired"}`),
		swap(`ws_closes_total{reason="hello_timeout"}`, `ws_closes_total{reason="gone"}`),
		swap(`messages_rejected_total{code="not_found"}`, `messages_rejected_total{code="internal"}`),
	)
	missing := all(
		swap(`login_failures_total{reason="account_locked"}`, `login_failures_total{reason="unknown"}`),
		replace(`login_failures_total{reason="2fa_failed"} 0`, ""), frozen("messages_rejected_total"),
	)
	together(t, map[string]scene{
		"one reason counted as another": {promise: 9, defect: &defect{metrics: mapped}, because: []string{
			"must be exactly wrong_password +1", "must be exactly wrong_password +9", "must be exactly user_not_found +1",
			"must be exactly revoked +1", "must be exactly hello_timeout +1", "must be exactly not_found +1",
		}},
		"counted without a reason, or not": {promise: 9, defect: &defect{metrics: missing}, because: []string{
			"must be exactly account_locked +1", "a failure without a reason is a defect", "has a series for 2fa_failed", "must be exactly idempotency_conflict +1",
		}},
		"told too much":           {promise: 9, defect: &defect{answer: tooMuch}, because: []string{`the caller is told "forbidden", and it must be "login_throttled"`}},
		"closed with other codes": {promise: 9, defect: &defect{abrupt: true}, because: []string{`the caller is told "1006", and it must be "4408"`}},
		"not in these logs": {promise: 9, change: func(_ *node, o *audit.Options) { o.LogDir = emptyLogs(t) }, because: []string{
			"names the reason wrong_pass_word",
		}},
		"sound": {promise: 9, verdict: audit.Holds, left: "2fa_failed"},
	})
}

// tooMuch tells the caller that the account is locked.
func tooMuch(res *http.Response) {
	if res.StatusCode == http.StatusTooManyRequests {
		res.StatusCode = http.StatusForbidden
		res.Body = io.NopCloser(strings.NewReader(`{"code":"forbidden","detail":"this account is locked"}`))
		res.ContentLength = -1
		res.Header.Del("Content-Length")
	}
}
