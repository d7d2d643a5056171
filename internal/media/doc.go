// Package media is the service that keeps what is too large for a message: it
// will take uploads in resumable pieces, make thumbnails, and hand out
// attachments to those who may see them.
//
// It does none of that yet. It has no routes, no RPC and no tables, stores
// nothing, and messages have no attachments. What exists is its place: it starts
// and stops with the process and says so in its log. It has no series in the
// metrics: they come with what they count.
package media
