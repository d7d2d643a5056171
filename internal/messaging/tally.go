package messaging

import (
	"maps"
	"slices"
	"time"
)

const (
	receiptsApart = time.Second // between delivered receipts of a large group
	largeGroup    = 50          // members above which receipts are counted, not named
)

// span is the messages with after < seq <= upTo.
type span struct{ after, upTo int64 }

type device struct{ user, name string }

// tally gathers what the devices of a large group acknowledge until its next
// delivered receipt. Those who follow a busy group have most messages in common, so it
// looks for the sender of each of the newest once, however many devices acknowledge
// it. What lies apart before them is looked for with each acknowledgement.
type tally struct {
	told    time.Time
	got     map[device]span
	senders map[int64]string // by sequence
	looked  span             // the newest stretch that was looked through; senders may hold more
}

func newTally(told time.Time) *tally {
	return &tally{told: told, got: map[device]span{}, senders: map[int64]string{}}
}

// add notes what a device has newly got. look finds the senders of a span, and says
// whether it could.
func (t *tally) add(d device, got span, look func(span, map[int64]string) bool) {
	if before, ok := t.got[d]; ok {
		t.got[d] = span{min(before.after, got.after), max(before.upTo, got.upTo)}
	} else {
		t.got[d] = got
	}
	got.after = max(got.after, got.upTo-lookBack)
	if got.after > t.looked.upTo || got.upTo < t.looked.after { // nothing in common
		if look(got, t.senders) && got.upTo > t.looked.upTo {
			t.looked = got
		}
		return
	}
	if older := (span{got.after, t.looked.after}); older.after < older.upTo && look(older, t.senders) {
		t.looked.after = older.after
	}
	if newer := (span{t.looked.upTo, got.upTo}); newer.after < newer.upTo && look(newer, t.senders) {
		t.looked.upTo = newer.upTo
	}
}

// count is what a receipt says: how many devices newly got messages of those who are
// told, and the greatest sequence that one of these devices acknowledged.
type count struct {
	devices int
	seq     int64
}

// counts gives what each sender is to be told. Devices of one's own do not count.
func (t *tally) counts() map[count][]string {
	sent := map[string][]int64{}
	for _, seq := range slices.Sorted(maps.Keys(t.senders)) {
		sent[t.senders[seq]] = append(sent[t.senders[seq]], seq)
	}
	told := map[count][]string{}
	for sender, seqs := range sent {
		var c count
		for d, got := range t.got {
			if d.user == sender {
				continue
			}
			if i, _ := slices.BinarySearch(seqs, got.after+1); i < len(seqs) && seqs[i] <= got.upTo {
				c = count{c.devices + 1, max(c.seq, got.upTo)}
			}
		}
		if c.devices > 0 {
			told[c] = append(told[c], sender)
		}
	}
	return told
}
