// Package fault holds the errors that may cross a boundary of the process.
//
// A fault has a [Code] from a closed set, a detail that is safe to show to
// whoever asked, and a cause that is never shown. Every code has exactly one
// [Kind]; package web maps codes to HTTP statuses and package rpc maps kinds to
// gRPC statuses, so that the same failure reads the same on every surface.
//
// An error that is not a fault is internal: [From] makes it so. The package
// imports the standard library only.
package fault
