// Package bustest says what every implementation of package bus has to do, so
// that the next one has only to pass it.
//
// [Fanout] and [Events] run the suites. Each check is a function that gives an
// error ([FanoutChecks], [EventsChecks]), so that tests of the suite itself can
// show that a broken bus does not pass. The checks allow repeats and wait for
// what has to come; where something must not come, they publish a last event
// after it and wait for that one.
package bustest
