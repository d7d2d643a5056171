// Package app is the process as an object: New wires it, Start serves, Stop
// drains. It is the only place that knows whether a service runs here or
// elsewhere, and whether an edge is the embedded or the distributed one.
//
// Stop guarantees the order of a loss-free end: not ready, refuse what is new,
// tell the clients, answer what was accepted, close the sockets, finish
// consumers and relays, close the databases, and say in one line what became
// of every send. Signals belong to main.
package app
