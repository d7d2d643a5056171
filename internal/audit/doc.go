// Package audit checks the promises of a running Nova from outside. It uses the
// public listener, /metrics, and, where they are named to it, the log folder,
// Prometheus and a command that restarts a node; it looks into no process, so
// that it can judge any deployment, a broken one too.
//
// A check holds only on evidence: each fact says what was done and what came of
// it. What could not be judged is named with its reason and never counts as
// good, and a report without a single judged fact says so. Where a verdict needs
// exact counts and others use the deployment at the same time, the audit says
// that it could not judge instead of guessing.
//
// The audit makes accounts of its own, named audit-*, and leaves them behind.
// It stays below the default rate limits; the only thing that it disturbs is
// what the restart command disturbs.
package audit
