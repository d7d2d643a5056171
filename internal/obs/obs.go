package obs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what an [Obs] needs to know.
type Config struct {
	Level slog.Level
	Out   io.Writer // where every log line goes; nil discards
	Dir   string    // if set, lines go to one file per service in this folder too

	Services []Service // that the process runs, for its metrics; none = all
}

// Obs is the logger and the metrics of one process. It is safe for concurrent use.
type Obs struct {
	Metrics *Metrics

	redactor redactor
	sampler  sampler
	loggers  [Process + 1]*slog.Logger
	files    []*os.File
}

// New makes the observability of a process. It creates the log folder.
func New(cfg Config) (*Obs, error) {
	o := &Obs{Metrics: NewMetrics(cfg.Services...)}
	if cfg.Out == nil {
		cfg.Out = io.Discard
	}
	for s := range o.loggers {
		w, err := o.sink(cfg, Service(s))
		if err != nil {
			return nil, errors.Join(err, o.Close())
		}
		o.loggers[s] = slog.New(newHandler(o, Service(s), cfg.Level, w))
	}
	return o, nil
}

// sink is where the lines of a service go: standard output and, with a log
// folder, the service's own file.
func (o *Obs) sink(cfg Config, s Service) (io.Writer, error) {
	if cfg.Dir == "" {
		return cfg.Out, nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("log folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(cfg.Dir, s.String()+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	o.files = append(o.files, f)
	return io.MultiWriter(f, cfg.Out), nil
}

// Log is the logger of a service, or of the process itself.
func (o *Obs) Log(s Service) *slog.Logger { return o.loggers[s] }

// Close closes the log files. No line may be logged afterwards.
func (o *Obs) Close() error {
	var errs []error
	for _, f := range o.files {
		errs = append(errs, f.Close())
	}
	o.files = nil
	return errors.Join(errs...)
}

// Hide makes the redactor blot out a secret, in its plain and its usual encoded
// forms, from everything that is logged from now on.
func (o *Obs) Hide(s Secret) { o.redactor.hide(s.Reveal()) }

// Sample says whether a line of the site is to be logged: the first ten of each
// second always, then one in a hundred. Ask before building the line; what is
// dropped is counted. Lines of level warning and above are never sampled.
func (o *Obs) Sample(s Site) bool {
	if o.sampler.keep(s) {
		o.Metrics.LogKept.Inc(s)
		return true
	}
	o.Metrics.LogDropped.Inc(s)
	return false
}

// Handler serves the metrics in the Prometheus and OpenMetrics formats.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry:          nil, // its own counters would be outside the catalogue
		ErrorHandling:     promhttp.HTTPErrorOnError,
		EnableOpenMetrics: true,
	})
}

// Gathered is the set of series that a scrape gives now, in the form of
// [Metrics.Static] and with the same sort order, without go_* and process_*.
func (m *Metrics) Gathered() ([]string, error) {
	mfs, err := m.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather: %w", err)
	}
	var all []string
	for _, mf := range mfs {
		if name := mf.GetName(); !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			all = append(all, gatheredNames(mf)...)
		}
	}
	return sorted(all), nil
}
