// Package certs holds the certificates by which Nova's processes know each other.
//
// A certificate says which services a process runs: its DNS names are
// "auth.nova", "messaging.nova" and so on, whatever machine it is on. Both ends of
// a connection show one and judge the other's: issued by an authority of the
// bundle, in force, made for that end, and named for a service (and, seen from
// the caller, for the service it calls).
//
// A [Source] reads two files and reads them again when they change. It
// guarantees: TLS 1.3 alone; a handshake uses what was taken last; files that do
// not fit are not taken, the ones before stay in use, and that is logged and
// counted with its reason; a mistake at the start names the setting. A [Folder]
// makes authorities and certificates: it never overwrites what holds a private
// part, and changes every file in one step, so that a reader sees the old one or
// the new one.
//
// It does not guarantee: that a certificate is withdrawn before it ends (there
// are no revocation lists: short lives and a new authority do that), that open
// connections notice a change (package rpc renews them once an hour), or that
// files get to the other machines.
package certs
