// Package rpc carries calls between services: gRPC in and out.
//
// A [Conn] goes to one service, wherever it runs. In one process it is a
// function call with the manners of a wire: the same interceptors, messages
// copied, and a context that keeps only deadline, cancellation and metadata. What
// somebody forgot to send is therefore missing in one process too.
//
// It guarantees: a correlation ID crosses (metadata x-correlation-id) or is made;
// every call has a deadline; a panic ends the call and not the process; a fault
// arrives with the code, detail, fields and waiting time that it left with; any
// other error arrives as internal and says nothing; calls are counted once, by
// the caller. Nothing in the metadata names who calls: identity is never taken
// from there.
//
// It does not guarantee secrecy between machines yet: until there is mutual TLS
// it listens on and dials loopback addresses alone. It carries no streams between
// services; the bus does that. It repeats no call.
package rpc
