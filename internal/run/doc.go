// Package run owns every goroutine of the process and the way it stops.
//
// A [Group] starts goroutines under a name, catches their panics, counts them,
// and holds named steps that stop the process, last added first stopped, each
// with a deadline of its own. It guarantees that [Group.Stop] runs every step
// exactly once, also after a failed start, and that its report names what did
// not finish. It is the only place in Nova with a go statement.
package run
