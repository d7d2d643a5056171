package auth

import (
	"encoding/json"
	"testing"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
)

func TestRenamedReachesTheLogin(t *testing.T) {
	r := newRig(t, cheap())
	uid := (<-r.eventsAfter("alice")).Key
	send := func(eventID, name string) error {
		payload, err := json.Marshal(map[string]string{"user_id": uid, "display_name": name})
		r.must(err)
		return r.svc.onRenamed(t.Context(), bus.Envelope{ID: eventID, Type: eventRenamed, Payload: payload})
	}
	first := id.New()
	r.must(send(first, "Queen"))
	r.must(send(id.New(), "King"))
	r.must(send(first, "Queen")) // a repeat must not bring the old name back
	user, _ := r.login("alice", "laptop").json["user"].(map[string]any)
	if user["display_name"] != "King" {
		t.Errorf("the login says %v", user)
	}
	for _, payload := range []string{"", "null", "[]", `{"user_id":"x"}`, `{"user_id":1,"display_name":"x"}`} {
		if err := r.svc.onRenamed(t.Context(), bus.Envelope{ID: id.New(), Payload: []byte(payload)}); !fault.Is(err, fault.CodeBadRequest) {
			t.Errorf("%q: %v", payload, err)
		}
	}
}

func (r *rig) eventsAfter(name string) <-chan bus.Envelope {
	r.t.Helper()
	r.register(name, "laptop")
	return r.events
}
