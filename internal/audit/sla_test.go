package audit_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/nova-chat/nova/internal/audit"
)

func TestServiceLevels(t *testing.T) {
	stuck := all(frozen("active_connections"), frozen("message_unacked_oldest_seconds"), frozen("ws_connection_establish_time_seconds"), frozen("message_committed_total"))
	together(t, map[string]scene{
		"histogram frozen": {promise: 6, defect: &defect{metrics: frozen("message_e2e_latency_seconds")}, because: []string{
			"message_e2e_latency_seconds_count[stage acknowledged] moved by", "no observation to compare with",
		}},
		"histogram scaled": {promise: 6, defect: &defect{metrics: scaled}, because: []string{"at most one bucket apart"}},
		"written called acknowledged": {promise: 6, defect: &defect{metrics: swap(`stage="written"`, `stage="acknowledged"`)}, because: []string{
			"held back by 300ms",
		}},
		"acknowledgements dropped": {promise: 6, defect: &defect{toServer: without(`"op":"ack"`)}, because: []string{
			"message_e2e_latency_seconds_count[stage acknowledged] moved by", "after its acknowledgement",
		}},
		"nothing else moves": {promise: 6, defect: &defect{metrics: stuck}, because: []string{
			"opened, active_connections moved by", "closed, active_connections moved by", "message_unacked_oldest_seconds grows to",
			"ws_connection_establish_time_seconds_count moved by",
		}},
		"empty Prometheus": {promise: 6, change: func(_ *node, o *audit.Options) { o.Prometheus = prometheus(t, false) }, because: []string{
			"query=global_message_rate_per_second gives 0 series", "query=message_e2e_latency_seconds gives 0 series",
		}},
		"Prometheus away": {promise: 6, change: func(_ *node, o *audit.Options) { o.Prometheus = "http://127.0.0.1:1" }, verdict: audit.Holds, left: "cache_hit_rate"},
		"Prometheus answers": {promise: 6, change: func(_ *node, o *audit.Options) { o.Prometheus = prometheus(t, true) }, verdict: audit.Holds, because: []string{
			"query=cache_hit_rate gives 1 series",
		}},
	})
}

// scaled makes every acknowledgement look a hundred times as fast.
func scaled(text string) string {
	return replace(`le="0.`, `le="0.00`)(text)
}

// prometheus is an impostor that knows every metric, or none.
func prometheus(t *testing.T, knows bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		result := []any{}
		if knows {
			result = append(result, map[string]any{"metric": map[string]string{"__name__": req.FormValue("query"), "a": "b"}, "value": []any{1.5, "42"}})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
	}))
	t.Cleanup(s.Close)
	return s.URL
}
