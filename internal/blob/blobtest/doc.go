// Package blobtest says what every implementation of blob.Store has to do, so
// that the next one has only to pass it.
//
// [Run] runs the suite. Each of the [Checks] is a function that gives an error,
// so that tests of the suite itself can show that a broken store does not pass.
package blobtest
