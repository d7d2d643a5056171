// Package e2e tests whole processes of Nova from outside, over HTTP and
// WebSocket, as clients see them.
package e2e
