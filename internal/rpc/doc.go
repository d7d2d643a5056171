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
// Over TCP both ends show certificates (package certs); without them only
// loopback addresses are listened on and dialled. Calls take turns among the
// addresses of a service that have a connection and say that they serve; one
// that takes calls and does not answer is set aside for a while; when there is
// none, calls are unavailable at once. A call is repeated only when nobody was
// available for it, its method is described as free of side effects or
// idempotent (the option idempotency_level in the .proto file), its deadline
// allows it, and the connection has not repeated too many already.
//
// It does not guarantee that a call which failed had no effect, nor that a
// certificate is judged again while its connection stands (an hour at most). It
// carries no streams between services; the bus does that. A call in one process
// is never repeated.
package rpc
