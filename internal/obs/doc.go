// Package obs is what one process tells about itself: metrics, logs, the
// correlation that joins them, and the secrets that must never be among them.
//
// [Obs] is made once and handed to every edge; the package has no globals, so
// that several nodes fit in one test. It guarantees:
//
//   - Every metric is a typed field of [Metrics], the catalogue. Labels are
//     closed Go types, children exist from the first scrape, and the number of
//     series is known before the process starts ([Metrics.Static]).
//   - Every log line made with a context that has a cause carries its
//     correlation ID. Warnings and errors are never dropped; sampled lines that
//     are dropped are counted by site.
//   - A [Secret] prints as "[secret]" through fmt, slog, JSON and text, and the
//     values given to [Obs.Hide] are blotted out of every line as a second net.
//
// It does not start goroutines: what it sums up is pulled at the scrape.
package obs
