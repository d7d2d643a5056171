// Package media is the service that keeps what is too large for a message: it
// will take uploads in resumable pieces, make thumbnails, and hand out
// attachments to those who may see them.
//
// It does none of that yet. It has no routes, no RPC and no tables, stores
// nothing, and messages have no attachments. What exists is its place: it starts
// and stops with the process, says so in its log, and has its series in every
// metric that is labelled by service.
package media
