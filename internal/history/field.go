package history

// field is a field of a line.
type field uint8

const (
	fOp field = iota
	fAfter
	fAgain
	fBase
	fBegin
	fBy
	fCmid
	fCode
	fConv
	fDelta
	fDepth
	fDev
	fDevice
	fExit
	fFrom
	fHash
	fID
	fKind
	fMore
	fMsg
	fName
	fNode
	fNote
	fOffset
	fPartition
	fReason
	fRun
	fSeq
	fService
	fSession
	fSince
	fSock
	fSrc
	fStart
	fT
	fTopic
	fType
	fUnread
	fUser
	fVersion
	fWithin
	fAccepted
	fCommitted
	fRejected
	fUnknown
	fAcknowledged
	fOutboxLeft
	fGoroutinesLeft
	fDuration
	fieldCount
)

// shape is what a field holds.
type shape uint8

const (
	isText shape = iota
	isNumber
	isFlag
	isPairs // an object of names and numbers
)

var fields = [fieldCount]struct {
	name  string
	shape shape
}{
	fOp: {"op", isText}, fAfter: {"after", isNumber}, fAgain: {"again", isFlag}, fBase: {"base", isNumber},
	fBegin: {"begin", isNumber}, fBy: {"by", isText}, fCmid: {"cmid", isText}, fCode: {"code", isNumber},
	fConv: {"conv", isText}, fDelta: {"delta", isPairs}, fDepth: {"depth", isNumber}, fDev: {"dev", isText},
	fDevice: {"device", isText}, fExit: {"exit", isNumber}, fFrom: {"from", isPairs}, fHash: {"hash", isText},
	fID: {"id", isText}, fKind: {"kind", isText}, fMore: {"more", isFlag}, fMsg: {"msg", isText},
	fName: {"name", isText}, fNode: {"node", isText}, fNote: {"note", isText}, fOffset: {"offset", isNumber},
	fPartition: {"partition", isNumber}, fReason: {"reason", isText}, fRun: {"run", isText}, fSeq: {"seq", isNumber},
	fService: {"service", isText}, fSession: {"session", isText}, fSince: {"since", isNumber}, fSock: {"sock", isText},
	fSrc: {"src", isText}, fStart: {"start", isText}, fT: {"t", isNumber}, fTopic: {"topic", isText},
	fType: {"type", isText}, fUnread: {"unread", isNumber}, fUser: {"user", isText}, fVersion: {"version", isNumber},
	fWithin: {"within", isNumber}, fAccepted: {"accepted", isNumber}, fCommitted: {"committed", isNumber},
	fRejected: {"rejected", isNumber}, fUnknown: {"unknown", isNumber}, fAcknowledged: {"acknowledged", isNumber},
	fOutboxLeft: {"outbox_left", isNumber}, fGoroutinesLeft: {"goroutines_left", isNumber}, fDuration: {"duration_ms", isNumber},
}

// byName finds fields without an allocation for each look-up.
var byName = func() map[string]field {
	m := map[string]field{}
	for f, d := range fields {
		m[d.name] = field(f)
	}
	return m
}()

// set is a set of fields.
type set uint64

func of(list ...field) (s set) {
	for _, f := range list {
		s |= 1 << f
	}
	return s
}

func (s set) has(f field) bool { return s>>f&1 == 1 }

// first is the first field of a set that is not empty.
func (s set) first() field {
	for f := range fieldCount {
		if s.has(f) {
			return f
		}
	}
	return fOp
}

// pair is one entry of an object of names and numbers.
type pair struct {
	name []byte
	n    int64
}

// line is one line of a history. Its texts live until the next line is read.
type line struct {
	number uint32 // of all lines of the history, from 1 on
	has    set
	text   [fieldCount][]byte
	num    [fieldCount]int64 // flags too: 0 or 1
	pairs  []pair
}

func (l *line) flag(f field) bool { return l.has.has(f) && l.num[f] == 1 }

// opt is a number that may be left out.
func (l *line) opt(f field, otherwise int64) int64 {
	if l.has.has(f) {
		return l.num[f]
	}
	return otherwise
}

// str is a text that may be left out; nil then.
func (l *line) str(f field) []byte {
	if l.has.has(f) {
		return l.text[f]
	}
	return nil
}
