// Package notification is the service that wakes people who are not connected:
// it will hold their devices and their preferences, and hand pushes to the
// providers (APNs, FCM, Web Push).
//
// It does none of that yet. It has no routes, no RPC, no tables, and consumes no
// event; nobody is woken, and a message to somebody who is away waits in the log
// until the device comes back. What exists is its place: it starts and stops with
// the process and says so in its log. It has no series in the metrics: they come
// with what they count.
package notification
