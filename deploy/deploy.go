// Package deploy embeds what Nova ships for those who run it: the configuration
// and the recording rules for Prometheus. The files are plain files too, to be
// copied from the repository; the package guarantees that the binary and the
// repository hold the same ones.
package deploy

import _ "embed" // for the files below

// PrometheusConfig is a prometheus.yml that scrapes one process.
//
//go:embed prometheus/prometheus.yml
var PrometheusConfig []byte

// RecordingRules are the recording rules that prometheus.yml loads: ratios,
// rates and quantiles, which do not add up over processes and therefore are
// computed where all processes meet.
//
//go:embed prometheus/nova.recording.yml
var RecordingRules []byte
