// Package ws is the WebSocket edge (RFC 6455): it upgrades requests, reads
// frames, and writes frames that are encoded once and shared by all recipients.
//
// It guarantees: what one socket sends reaches [Handler].Text in order, on one
// goroutine; a recipient that does not read delays nobody else, its queue is
// bounded and it is closed for it; frames are written whole, in the order they
// were queued; every end is counted once under one reason and reported once to
// [Handler].Closed, with the frames that were not written; an idle socket holds
// no buffer.
//
// It does not guarantee that a written frame was received, does not compress,
// takes no binary frames, and knows neither JSON nor who is at the other end.
package ws
