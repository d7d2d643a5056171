// Package sqltest runs tests of stores on every engine that sqldb supports, and
// says in one suite what an engine must do alike.
//
// It guarantees an empty database for each test. It does not guarantee that an
// engine which needs a server is there: without one, its part is left out.
package sqltest
