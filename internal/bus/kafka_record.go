package bus

import (
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// The headers of a record. The value is the payload and the record's own key is
// the envelope's.
const (
	headerID          = "id"
	headerType        = "type"
	headerCorrelation = "x-correlation-id"
	headerTrace       = "traceparent" // if there is one
	headerOrigin      = "origin"
	headerPos         = "pos"
	headerSeq         = "seq"
	headerAt          = "at" // milliseconds since 1970

	// Of dead letters only.
	headerReason = "dead-reason" // as in event_failures_total
	headerCode   = "dead-code"   // of the fault
	headerQueue  = "dead-queue"
	headerFrom   = "dead-from" // topic/partition/offset
)

// maxRecord is the largest payload, with which a record still fits into what a
// broker takes by default.
const maxRecord = 900 << 10

// record is the envelope as it travels.
func (cfg *KafkaConfig) record(e *Envelope) *kgo.Record {
	h := make([]kgo.RecordHeader, 0, 8)
	add := func(name, value string) { h = append(h, kgo.RecordHeader{Key: name, Value: []byte(value)}) }
	add(headerID, e.ID)
	add(headerType, e.Type)
	add(headerCorrelation, string(e.Correlation))
	if e.Trace != "" {
		add(headerTrace, string(e.Trace))
	}
	if e.Origin != "" {
		add(headerOrigin, e.Origin)
	}
	add(headerPos, strconv.FormatInt(e.Pos, 10))
	if e.Seq != 0 {
		add(headerSeq, strconv.FormatInt(e.Seq, 10))
	}
	if !e.At.IsZero() {
		add(headerAt, strconv.FormatInt(e.At.UnixMilli(), 10))
	}
	// The empty key is one as well: without any, events would be spread at random.
	return &kgo.Record{Topic: cfg.topicOf(e.Type), Key: append([]byte{}, e.Key...), Value: e.Payload, Headers: h}
}

// header gives the first header of that name.
func header(r *kgo.Record, name string) (string, bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return string(r.Headers[i].Value), true
		}
	}
	return "", false
}

// envelope reads a record. What cannot be one of Nova's is a fault of kind Invalid.
func envelope(r *kgo.Record) (e Envelope, err error) {
	e = Envelope{Key: string(r.Key), Payload: r.Value}
	e.ID, _ = header(r, headerID)
	e.Type, _ = header(r, headerType)
	e.Origin, _ = header(r, headerOrigin)
	cause, _ := header(r, headerCorrelation)
	e.Correlation = obs.Correlation(cause)
	trace, _ := header(r, headerTrace)
	e.Trace, _ = obs.ParseTrace(trace)
	var at int64
	for _, n := range []struct {
		name string
		to   *int64
	}{{headerPos, &e.Pos}, {headerSeq, &e.Seq}, {headerAt, &at}} {
		text, ok := header(r, n.name)
		if !ok {
			continue
		}
		if *n.to, err = strconv.ParseInt(text, 10, 64); err != nil {
			return e, fault.OnField(fault.CodeBadRequest, n.name, "a record's header of this name is a number")
		}
	}
	if at != 0 {
		e.At = time.UnixMilli(at)
	}
	return e, e.Validate()
}

// deadRecord is the record as it is kept when its queue refused it for good.
func deadRecord(r *kgo.Record, q obs.Queue, why refusal) *kgo.Record {
	dead := &kgo.Record{Topic: r.Topic + deadSuffix, Key: r.Key, Value: r.Value}
	dead.Headers = append(dead.Headers, r.Headers...)
	add := func(name, value string) {
		dead.Headers = append(dead.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	add(headerReason, why.reason.String())
	add(headerCode, why.code.String())
	add(headerQueue, q.String())
	add(headerFrom, fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset))
	return dead
}
