// Package notification is the service that wakes people who are not connected:
// it will hold their devices and their preferences, and hand pushes to the
// providers (APNs, FCM, Web Push).
//
// It does none of that yet. It has no routes, no RPC, no tables, and consumes no
// event; nobody is woken, and a message to somebody who is away waits in the log
// until the device comes back. What exists is its place: it starts and stops with
// the process, says so in its log, and has its series in every metric that is
// labelled by service.
package notification
