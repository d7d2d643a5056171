package mutant

// The defects, each guarding what it changes.
const (
	AckBeforeCommit      = Name == "ack_before_commit"
	CommitErrorIsSent    = Name == "commit_error_is_sent"
	NoDedupeIndex        = Name == "no_dedupe_index"
	DedupePerNode        = Name == "dedupe_per_node"
	SequenceOutside      = Name == "sequence_outside"
	PositionEarly        = Name == "position_early"
	CursorBeforeBroker   = Name == "cursor_before_broker"
	NoGapDetector        = Name == "no_gap_detector"
	StreamFromEnd        = Name == "stream_from_end"
	ResumeTooLate        = Name == "resume_too_late"
	ReadBeforeJoin       = Name == "read_before_join"
	DrainAcksQueued      = Name == "drain_acks_queued"
	OffsetBeforeHandling = Name == "offset_before_handling"
	RevokeOneNode        = Name == "revoke_one_node"
	OutageIsDeadLetter   = Name == "outage_is_dead_letter"
)
