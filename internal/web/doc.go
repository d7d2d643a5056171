// Package web is the HTTP edge: every request that comes in and every request
// that goes out passes through it.
//
// A [Router] holds the routes of one listener. Services give it plain functions
// ([Register]) or raw handlers ([Router.Handle]); the framework behind it stays
// inside. The package guarantees, for whatever arrives:
//
//   - What it answers with an error is a problem document (RFC 9457) with a code
//     of package fault. It never holds a value of the request, a cause or a stack.
//   - A body reaches a service only when it is JSON that has one reading, with
//     known fields of the documented types and sizes.
//   - Route labels are the patterns that were registered, so no request can add
//     a series.
//   - Neither path, query, header nor body is ever logged; the line of a request
//     names its operation.
//   - A panic answers one request with 500 and harms no other.
//
// What net/http refuses before routing (400, 431, 501) is not in this form. The
// package does not do TLS, HTTP/2, compression, cookies or cross-origin access:
// a reverse proxy may add the first three in front, and Nova needs no others.
package web
