package history

import (
	"errors"
	"fmt"
)

// builder makes the index of one run, line by line.
type builder struct {
	h        *History
	devices  map[[2]string]int32 // by user and device
	sessions names
	convs    names
	ops      map[opKey]int32

	// Labels hold within one file, so that several writers need not agree on them.
	labels map[string]int32
	socks  map[string]int32
}

// opKey is the scope in which a client's identifier is one message.
type opKey struct {
	dev int32
	id  identifier
}

func newBuilder(run string) *builder {
	return &builder{
		h:       &History{Run: run, topics: map[int32]uint32{}},
		devices: map[[2]string]int32{}, ops: map[opKey]int32{},
	}
}

// begin begins a file.
func (b *builder) begin(name string) {
	b.h.files = append(b.h.files, file{name, uint32(b.h.Lines) + 1})
	b.labels, b.socks = map[string]int32{}, map[string]int32{}
}

func (b *builder) add(l *line) error { return forms[string(l.text[fOp])].add(b, l) }

func (b *builder) header(*line) error {
	return errors.New("is a second header: one history is one run")
}

func (b *builder) device(l *line) error {
	who := [2]string{string(l.text[fUser]), string(l.text[fDevice])}
	i, known := b.devices[who]
	if !known {
		i = int32(len(b.h.devices))
		b.devices[who] = i
		b.h.devices = append(b.h.devices, device{who[0] + "/" + who[1], b.h.users.number(l.text[fUser])})
	}
	label := string(l.text[fDev])
	if other, taken := b.labels[label]; taken && other != i {
		return fmt.Errorf("gives the label %.40q to a second device", label)
	}
	b.labels[label] = i
	return nil
}

// dev is the device that a line names.
func (b *builder) dev(l *line, f field) (int32, error) {
	i, ok := b.labels[string(l.text[f])]
	if !ok {
		return 0, fmt.Errorf("names the device %.40q, which no line before it in this file declares", l.text[f])
	}
	return i, nil
}

func (b *builder) conversation(l *line) error {
	if l.num[fBase] < 0 {
		return errors.New("has a negative base")
	}
	if i := b.convs.find(l.text[fConv]); i >= 0 {
		if b.h.convs[i].base != l.num[fBase] {
			return errors.New("declares a conversation again, with another base")
		}
		return nil
	}
	b.convs.number(l.text[fConv])
	b.h.convs = append(b.h.convs, conversation{name: string(l.text[fConv]), base: l.num[fBase], last: l.num[fBase]})
	return nil
}

func (b *builder) conv(l *line) (int32, error) {
	i := b.convs.find(l.text[fConv])
	if i < 0 {
		return 0, fmt.Errorf("names the conversation %.40q, which no line before it declares", l.text[fConv])
	}
	return i, nil
}

// where is the device and the conversation of a line that has both.
func (b *builder) where(l *line, who field) (dev, conv int32, err error) {
	dev, err = b.dev(l, who)
	if err != nil {
		return 0, 0, err
	}
	conv, err = b.conv(l)
	return dev, conv, err
}

// sock is the socket that a line names; -1 if it names none.
func (b *builder) sock(l *line) (int32, error) {
	name := l.str(fSock)
	if name == nil {
		return -1, nil
	}
	i, ok := b.socks[string(name)]
	if !ok {
		return 0, fmt.Errorf("names the socket %.40q, which no line before it in this file opens", name)
	}
	return i, nil
}

// message is the op that an identifier of a device stands for.
func (b *builder) message(dev int32, cmid []byte) int32 {
	key := opKey{dev, identify(cmid)}
	i, ok := b.ops[key]
	if !ok {
		i = int32(len(b.h.ops))
		b.ops[key] = i
		b.h.ops = append(b.h.ops, op{dev: dev, conv: -1, sock: -1})
	}
	return i
}

// above says whether the history covers a sequence; the bound keeps arithmetic
// on it harmless.
func (b *builder) above(conv int32, seq int64) bool { return seq > b.h.convs[conv].base }
