package obs

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/nova-chat/nova/internal/fault"
)

// Metrics is every metric that Nova has. docs/metrics.md, the static series
// count and `nova audit` read this catalogue; nothing else may make a metric.
type Metrics struct {
	// Messages on their way
	MessagesAccepted  Counter                   // sends that were read and understood
	MessagesCommitted Counter                   // sends that are committed and fsynced (repeats not counted)
	MessagesRejected  CounterBy[fault.Code]     // sends with a definite refusal
	MessagesUnknown   Counter                   // sends whose outcome is unknown to the client
	MessagesRepeated  Counter                   // sends that were answered from the log
	Deliveries        Counter                   // messages written to a socket
	DeliveryFailures  CounterBy[DeliveryReason] // messages that did not reach a socket they were meant for
	E2ELatency        HistogramBy[Stage]        // accept to written, accept to acknowledged
	E2EInvalid        Counter                   // latencies that came out negative (clock skew) and were left out
	UnackedOldest     Gauge                     // age of the oldest written message that was not acknowledged
	BatchSize         Histogram                 // seconds per group commit, by its fsync

	// Sockets
	ActiveConnections Gauge                  // authenticated open sockets
	SocketEstablish   Histogram              // connection accepted to live
	SocketFrames      CounterBy[Op]          // frames from clients
	SocketCloses      CounterBy[CloseReason] // ends of sockets
	SocketErrors      CounterBy[fault.Code]  // error frames to clients

	// HTTP and RPC
	HTTPInFlight     Gauge
	HTTPFailures     CounterBy[fault.Code] // problem documents
	IdentityRefusals CounterBy[IdentityReason]
	RateLimited      CounterBy[Limit]
	Panics           CounterBy[PanicSite]

	// Accounts
	LoginFailures   CounterBy[LoginReason]
	Logins          Counter
	Registrations   Counter
	HashingInFlight Gauge

	// Stores and events
	DBActive          GaugeBy[Service]
	DBIdle            GaugeBy[Service]
	DBDuration        HistogramBy2[Service, Access]
	DBFailures        CounterBy2[Service, StoreReason]
	DurabilityStrict  Gauge
	OutboxUnpublished GaugeBy[Service]
	QueueLag          GaugeBy[Queue]
	QueueConsumed     CounterBy[Queue]
	EventFailures     CounterBy[BusReason]
	CacheRequests     CounterBy2[Cache, CacheResult]

	// The process
	Ready           Gauge
	Goroutines      Gauge // started by run.Group and not ended
	ShutdownPhase   HistogramBy[Phase]
	LogKept         CounterBy[Site]
	LogDropped      CounterBy[Site]
	LogUncorrelated Counter // lines with a cause whose correlation ID is missing

	routes       routes
	calls        calls
	blobs        *CounterBy[StoreReason]
	wire         *Wire
	certificates *Certificates
	registry     *prometheus.Registry
	declared     *declarer
}

var (
	latencyBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	connectBounds = []float64{.005, .025, .1, .25, .5, 1, 2.5, 5}
	routeBounds   = []float64{.005, .05, .5, 5}
	storeBounds   = []float64{.001, .01, .1, 1}
	phaseBounds   = []float64{.1, 1, 5, 25}
)

// NewMetrics makes the catalogue of a process that runs the given services, all
// if there is none, with every child at 0.
func NewMetrics(services ...Service) *Metrics {
	reg := prometheus.NewRegistry()
	d := &declarer{reg: reg, local: func(s Service) bool {
		return s == Process || len(services) == 0 || slices.Contains(services, s)
	}}
	m := &Metrics{registry: reg, declared: d}
	m.declareMessages(d.of(Messaging))
	m.declareSockets(d.of(Messaging))
	m.declareCalls(d)
	m.declareAccounts(d.of(Auth))
	m.declareStores(d)
	m.declareProcess(d)
	m.routes.declare(d)
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) declareMessages(d *declarer) {
	m.MessagesAccepted = Counter{d.counters("messages_accepted_total", "Sends that were read and understood.")[0]}
	m.MessagesCommitted = Counter{d.counters("messages_committed_total", "Sends committed and fsynced; repeats are not counted again.")[0]}
	m.MessagesRejected = counterOf(d, "messages_rejected_total", "Sends that were definitely refused, by error code.", some[fault.Code]{"code", rejections, fault.CodeConflict})
	m.MessagesUnknown = Counter{d.counters("messages_unknown_total", "Sends answered with an error that leaves open whether the message is stored.")[0]}
	m.MessagesRepeated = Counter{d.counters("messages_repeated_total", "Sends answered from the log, because the same identifier was committed before.")[0]}
	m.Deliveries = Counter{d.counters("message_deliveries_total", "Messages written to a recipient's socket.")[0]}
	m.DeliveryFailures = CounterBy[DeliveryReason]{d.counters("message_delivery_failures_total", "Messages that did not reach a socket they were meant for, by reason; they stay in the log and are fetched on resume.", domain[DeliveryReason]("reason"))}
	m.E2ELatency = HistogramBy[Stage]{d.histograms("message_e2e_latency_seconds", "From the acceptance of a message to the write on the recipient's socket, and to the recipient's acknowledgement.", true, latencyBounds, domain[Stage]("stage"))}
	m.E2EInvalid = Counter{d.counters("message_e2e_invalid_total", "Latencies left out because they came out negative.")[0]}
	m.UnackedOldest = Gauge{d.gauges("message_unacked_oldest_seconds", "seconds", "Age of the oldest message that was written to a connected device and not acknowledged by it.")[0]}
	m.BatchSize = Histogram{d.histograms("message_commit_duration_seconds", "Duration of a group commit of messages, fsync included.", false, storeBounds)[0]}
}

func (m *Metrics) declareSockets(d *declarer) {
	m.ActiveConnections = Gauge{d.gauges("active_connections", "", "Authenticated open sockets.")[0]}
	m.SocketEstablish = Histogram{d.histograms("ws_connection_establish_time_seconds", "From the accepted upgrade request to the live frame.", true, connectBounds)[0]}
	m.SocketFrames = CounterBy[Op]{d.counters("ws_frames_total", "Frames received from clients, by operation.", domain[Op]("op"))}
	m.SocketCloses = CounterBy[CloseReason]{d.counters("ws_closes_total", "Sockets that ended, by reason.", domain[CloseReason]("reason"))}
	m.SocketErrors = counterOf(d, "ws_errors_total", "Error frames sent to clients, by error code.", some[fault.Code]{"code", codesBut(onHTTP), fault.CodeInternal})
}

func (m *Metrics) declareCalls(d *declarer) {
	m.HTTPInFlight = Gauge{d.gauges("http_requests_in_flight", "", "HTTP requests that are being answered.")[0]}
	m.HTTPFailures = counterOf(d, "http_failures_total", "Problem documents sent to clients, by error code.", some[fault.Code]{"code", codesBut(onSockets), fault.CodeInternal})
	m.calls.declare(d)
	m.IdentityRefusals = CounterBy[IdentityReason]{d.counters("identity_refusals_total", "Proofs of identity that were refused, by reason.", domain[IdentityReason]("reason"))}
	m.RateLimited = CounterBy[Limit]{d.counters("rate_limited_total", "Requests refused by a rate limit, by limit.", owned(d, "limit", Limit.service))}
	m.Panics = CounterBy[PanicSite]{d.counters("panics_total", "Panics that were caught, by site. Each is a defect.", domain[PanicSite]("site"))}
}

func (m *Metrics) declareAccounts(d *declarer) {
	m.LoginFailures = CounterBy[LoginReason]{d.counters("login_failures_total", "Logins refused, by reason.", domain[LoginReason]("reason"))}
	m.Logins = Counter{d.counters("logins_total", "Logins that succeeded.")[0]}
	m.Registrations = Counter{d.counters("registrations_total", "Accounts that were registered.")[0]}
	m.HashingInFlight = Gauge{d.gauges("auth_hashing_in_flight", "", "Argon2id computations that run or wait.")[0]}
}

func (m *Metrics) declareStores(d *declarer) {
	m.DBActive = GaugeBy[Service]{d.gauges("db_connections_active", "", "Database connections in use, by service.", d.stored())}
	m.DBIdle = GaugeBy[Service]{d.gauges("db_connections_idle", "", "Database connections open and not in use, by service.", d.stored())}
	m.DBDuration = HistogramBy2[Service, Access]{d.histograms("db_operation_duration_seconds", "Duration of database operations, by service and kind.", false, storeBounds, d.stored(), domain[Access]("kind")), len(accessNames)}
	m.DBFailures = CounterBy2[Service, StoreReason]{d.counters("db_failures_total", "Database operations that failed, by service and reason.", d.stored(), domain[StoreReason]("reason")), len(storeReasons)}
	m.DurabilityStrict = Gauge{d.gauges("nova_durability_strict", "", "1 when every acknowledged write is fsynced.")[0]}
	m.OutboxUnpublished = GaugeBy[Service]{d.gauges("outbox_unpublished_events", "", "Committed events that not every sink has taken, by service.", d.stored())}
	m.QueueLag = GaugeBy[Queue]{d.gauges("queue_processing_lag_messages", "", "Messages that wait to be processed, by queue.", owned(d, "queue", Queue.service))}
	m.QueueConsumed = CounterBy[Queue]{d.counters("queue_consumed_messages_total", "Messages processed, by queue.", owned(d, "queue", Queue.service))}
	m.EventFailures = CounterBy[BusReason]{d.counters("event_failures_total", "Events whose handling failed, by reason.", domain[BusReason]("reason"))}
	m.CacheRequests = CounterBy2[Cache, CacheResult]{d.counters("cache_requests_total", "Cache look-ups, by cache and result.", owned(d, "cache", Cache.service), domain[CacheResult]("result")), len(cacheResults)}
}

func (m *Metrics) declareProcess(d *declarer) {
	m.Ready = Gauge{d.gauges("nova_ready", "", "1 while the process may receive traffic.")[0]}
	m.Goroutines = Gauge{d.gauges("nova_goroutines", "", "Goroutines that Nova started and that have not ended.")[0]}
	m.ShutdownPhase = HistogramBy[Phase]{d.histograms("shutdown_phase_duration_seconds", "Duration of the phases of a shutdown.", false, phaseBounds, domain[Phase]("phase"))}
	m.LogKept = CounterBy[Site]{d.counters("log_lines_kept_total", "Sampled log lines that were written, by site.", owned(d, "site", Site.service))}
	m.LogDropped = CounterBy[Site]{d.counters("log_lines_dropped_total", "Sampled log lines that were dropped, by site.", owned(d, "site", Site.service))}
	m.LogUncorrelated = Counter{d.counters("log_lines_uncorrelated_total", "Log lines of services without a correlation ID.")[0]}
}

// Families is the catalogue, routes included, in order of declaration.
func (m *Metrics) Families() []*Family {
	m.declared.mu.Lock()
	defer m.declared.mu.Unlock()
	return slices.Clone(m.declared.families)
}

// Static is the set of series that Nova's own metrics have, sorted, computed
// from the catalogue alone. The collectors of the Go runtime and of the process
// add a few dozen of their own (go_*, process_*).
func (m *Metrics) Static() []string {
	var all []string
	for _, f := range m.Families() {
		all = append(all, f.names()...)
	}
	slices.Sort(all)
	return all
}
