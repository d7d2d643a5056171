// Package messaging is the service of conversations and messages: it takes a
// message, commits it, acknowledges it, and hands it to every device of every
// member.
//
// It guarantees: an acknowledged message is committed and fsynced; within a
// conversation the sequence numbers are dense and in commit order; the same
// client_msg_id of the same device is stored once, however often it is sent; a
// socket gets each message of its user's conversations once, in order, or is
// closed with a resumable code and gets the rest from the log.
//
// The way of a message through the files: socket.go or http.go reads it,
// message.go checks it, append.go commits it with all others that wait, hub.go
// gives it to the sockets, marks.go takes the acknowledgements, catchup.go
// serves whoever was away.
package messaging
