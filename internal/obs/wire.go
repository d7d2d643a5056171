package obs

// Wire counts what only calls over TCP have.
type Wire struct {
	Retries   Counter // calls sent again
	Ejections Counter // addresses set aside because nothing was answered
}

// Wire adds the series of calls over TCP, when the process first connects to
// another; asked again it gives the same.
func (m *Metrics) Wire() *Wire {
	m.declared.mu.Lock()
	defer m.declared.mu.Unlock()
	if m.wire == nil {
		d := m.declared
		defer d.when("in processes that call others", len(d.families))
		m.wire = &Wire{
			Retries:   Counter{d.counters("rpc_retries_total", "Calls between services that were sent again because nobody was available.")[0]},
			Ejections: Counter{d.counters("rpc_ejections_total", "Addresses of services that were set aside for a while, because calls to them got no answer.")[0]},
		}
	}
	return m.wire
}

// Certificates counts what calls under mutual TLS have besides.
type Certificates struct {
	Life     GaugeBy[Certificate]         // seconds until the one in use ends
	Failures CounterBy[CertificateReason] // changed files that were not taken
	Refusals CounterBy[PeerReason]        // connections that ended in the handshake
}

// Certificates adds the series of mutual TLS, when the process opens its
// certificates: without any, a remaining life of 0 would be an alarm. Asked
// again it gives the same.
func (m *Metrics) Certificates() *Certificates {
	m.declared.mu.Lock()
	defer m.declared.mu.Unlock()
	if m.certificates == nil {
		d := m.declared
		defer d.when("in processes with certificates", len(d.families))
		m.certificates = &Certificates{
			Life:     GaugeBy[Certificate]{d.gauges("nova_certificate_expiry_seconds", "seconds", "Time until a certificate in use ends; negative when it has.", domain[Certificate]("certificate"))},
			Failures: CounterBy[CertificateReason]{d.counters("rpc_certificate_failures_total", "Changed certificate files that were not taken, by reason; what was read before stays in use.", domain[CertificateReason]("reason"))},
			Refusals: CounterBy[PeerReason]{d.counters("rpc_peer_refusals_total", "Connections between processes that ended in the handshake, by reason.", domain[PeerReason]("reason"))},
		}
	}
	return m.certificates
}

// Certificate is one of those that a process uses for its calls.
type Certificate uint8

// The certificates of nova_certificate_expiry_seconds.
const (
	CertificateIdentity  Certificate = iota // the process's own
	CertificateAuthority                    // the one that its own was issued by
)

var certificateNames = []string{"identity", "authority"}

func (c Certificate) String() string { return nameAt(certificateNames, uint8(c)) }

// CertificateReason is why certificate files were not taken.
type CertificateReason uint8

// The reasons of rpc_certificate_failures_total.
const (
	CertificateUnreadable CertificateReason = iota
	CertificateMalformed                    // not what the file must hold, or parts that do not belong together
	CertificateExpired                      // or not valid yet
	CertificateUntrusted                    // not issued by an authority of the bundle
	CertificateWrongName                    // does not name the services of the process
)

var certificateReasons = []string{"unreadable", "malformed", "expired", "untrusted", "wrong_name"}

func (r CertificateReason) String() string { return nameAt(certificateReasons, uint8(r)) }

// PeerReason is why a connection between two processes ended in the handshake.
type PeerReason uint8

// The reasons of rpc_peer_refusals_total.
const (
	PeerNoCertificate PeerReason = iota
	PeerUnknownAuthority
	PeerExpired   // or not valid yet
	PeerWrongName // not a service, or not the one that was called
	PeerWrongUse  // not made for this end of a connection
	PeerHandshake // no TLS 1.3, or broken off
)

var peerReasons = []string{"no_certificate", "unknown_authority", "expired", "wrong_name", "wrong_use", "handshake"}

func (r PeerReason) String() string { return nameAt(peerReasons, uint8(r)) }
