package history

import (
	"errors"
	"fmt"
)

// Version is the version of the format that this package reads.
const Version = 1

// form is what a line of one kind must have, and what it may have besides.
// Each line may have a note.
type form struct {
	need, may set
	add       func(*builder, *line) error
}

// forms are the kinds of lines, by their op. docs/history.md says what they mean.
var forms = map[string]form{
	"history":   {of(fVersion, fRun), of(fStart), (*builder).header},
	"device":    {of(fDev, fUser, fDevice), 0, (*builder).device},
	"conv":      {of(fConv, fBase), 0, (*builder).conversation},
	"member":    {of(fConv, fUser, fKind, fSeq, fT), of(fSince), (*builder).member},
	"send":      {of(fDev, fConv, fCmid, fHash, fT), of(fSock, fAgain), (*builder).send},
	"ack":       {of(fDev, fCmid, fMsg, fSeq, fT), of(fSock), (*builder).ack},
	"fail":      {of(fDev, fCmid, fKind, fT), of(fSock, fReason), (*builder).fail},
	"open":      {of(fDev, fSock, fT), of(fNode, fSession, fFrom), (*builder).open},
	"resync":    {of(fSock, fT), of(fConv), (*builder).resync},
	"close":     {of(fSock, fT), of(fDev, fCode), (*builder).close},
	"recv":      {of(fDev, fConv, fSeq, fMsg, fCmid, fBy, fHash, fSrc, fT), of(fSock), (*builder).recv},
	"read":      {of(fDev, fSock, fConv, fNode, fAfter, fBegin, fT), of(fMore), (*builder).read},
	"caught_up": {of(fDev, fConv, fSeq, fT), 0, (*builder).caughtUp},
	"mark":      {of(fDev, fConv, fSeq, fKind, fBegin, fT), of(fNode, fUnread), (*builder).mark},
	"revoke":    {of(fSession, fT), of(fNode, fWithin), (*builder).revoke},
	"fault":     {of(fName, fT), 0, (*builder).fault},
	"heal":      {of(fName, fT), 0, (*builder).heal},
	"log":       {of(fNode, fConv, fSeq, fMsg, fCmid, fBy, fHash), of(fVersion), (*builder).log},
	"logged":    {of(fNode, fConv, fT), 0, (*builder).logged},
	"event":     {of(fTopic, fPartition, fOffset, fID, fType), of(fConv, fSeq, fMsg, fCmid, fBy, fHash), (*builder).event},
	"events":    {of(fTopic, fT), 0, (*builder).events},
	"handled":   {of(fService, fID, fKind, fT), 0, (*builder).handled},
	"outbox":    {of(fService, fDepth, fT), of(fNode), (*builder).outbox},
	"metrics":   {of(fNode, fDelta), of(fT), (*builder).metrics},
	"shutdown": {
		of(fNode, fAccepted, fCommitted, fRejected, fUnknown, fExit),
		of(fAcknowledged, fOutboxLeft, fGoroutinesLeft, fDuration, fT), (*builder).shutdown,
	},
}

// complete judges that a line has what its kind must have, and nothing else.
func (l *line) complete() error {
	if !l.has.has(fOp) {
		return errors.New(`lacks the field "op"`)
	}
	f, ok := forms[string(l.text[fOp])]
	if !ok {
		return fmt.Errorf("has the unknown op %.40q", l.text[fOp])
	}
	if lacks := f.need &^ l.has; lacks != 0 {
		return fmt.Errorf("is a %s and lacks the field %q", l.text[fOp], fields[lacks.first()].name)
	}
	if more := l.has &^ (f.need | f.may | of(fOp, fNote)); more != 0 {
		return fmt.Errorf("is a %s, which has no field %q", l.text[fOp], fields[more.first()].name)
	}
	return nil
}
