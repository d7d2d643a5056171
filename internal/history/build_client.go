package history

import (
	"errors"
	"fmt"
)

// What clients write while they talk.

func (b *builder) member(l *line) error {
	conv, err := b.conv(l)
	if err != nil {
		return err
	}
	kind := string(l.text[fKind])
	if kind != "add" && kind != "remove" {
		return fmt.Errorf("has the kind %.40q: add or remove", kind)
	}
	b.h.members = append(b.h.members, member{
		conv, b.h.users.number(l.text[fUser]), kind == "add", l.num[fSeq], l.opt(fSince, 1), l.num[fT], l.number,
	})
	return nil
}

func (b *builder) send(l *line) error {
	dev, conv, err := b.where(l, fDev)
	if err != nil {
		return err
	}
	sock, err := b.sock(l)
	if err != nil {
		return err
	}
	i := b.message(dev, l.text[fCmid])
	b.h.subs = append(b.h.subs, submission{i, sock, l.number, l.flag(fAgain)})
	b.h.ops[i].submit(l, conv, sock)
	return nil
}

func (o *op) submit(l *line, conv, sock int32) {
	hash := digest(l.text[fHash])
	o.sends++
	switch {
	case !o.sent():
		o.conv, o.hash, o.line, o.sendT, o.sock = conv, hash, l.number, l.num[fT], sock
		return
	case !o.is(hash):
		o.hashes = append(o.hashes, hash)
	}
	o.roamed = o.roamed || sock != o.sock
	o.sendT = min(o.sendT, l.num[fT])
}

func (b *builder) ack(l *line) error {
	dev, err := b.dev(l, fDev)
	if err != nil {
		return err
	}
	if l.num[fSeq] < 1 {
		return errors.New("has a seq below 1")
	}
	i, msg := b.message(dev, l.text[fCmid]), digest(l.text[fMsg])
	o := &b.h.ops[i]
	if !o.acked() {
		o.ackLine, o.ackT, o.msg, o.seq = l.number, l.num[fT], msg, l.num[fSeq]
		return nil
	}
	b.h.repeats = append(b.h.repeats, answer{i, l.num[fSeq], msg, l.number})
	o.ackT = min(o.ackT, l.num[fT])
	return nil
}

func (b *builder) fail(l *line) error {
	dev, err := b.dev(l, fDev)
	if err != nil {
		return err
	}
	o := &b.h.ops[b.message(dev, l.text[fCmid])]
	switch string(l.text[fKind]) {
	case "definite":
		o.refused++
	case "indeterminate":
		o.open++
		if l.str(fReason) != nil && string(l.text[fReason]) != "socket_lost" {
			b.h.leftOpen++
		}
	default:
		return fmt.Errorf("has the kind %.40q: definite or indeterminate", l.text[fKind])
	}
	return nil
}

func (b *builder) open(l *line) error {
	dev, err := b.dev(l, fDev)
	if err != nil {
		return err
	}
	name := string(l.text[fSock])
	if _, taken := b.socks[name]; taken {
		return fmt.Errorf("opens the socket %.40q a second time", name)
	}
	s := socket{dev: dev, node: -1, session: -1, openT: l.num[fT], line: l.number}
	if node := l.str(fNode); node != nil {
		s.node = b.h.nodes.number(node)
	}
	if session := l.str(fSession); session != nil {
		s.session = b.sessions.number(session)
	}
	for _, p := range l.pairs {
		conv := b.convs.find(p.name)
		if conv < 0 {
			return fmt.Errorf("resumes the conversation %.40q, which no line before it declares", p.name)
		}
		s.from = append(s.from, place{conv, max(p.n, b.h.convs[conv].base)})
	}
	b.socks[name] = int32(len(b.h.socks))
	b.h.socks = append(b.h.socks, s)
	return nil
}

func (b *builder) close(l *line) error {
	i, err := b.sock(l)
	if err != nil {
		return err
	}
	if s := &b.h.socks[i]; !s.closed {
		s.closed, s.closeT = true, l.num[fT]
	}
	return nil
}

func (b *builder) resync(l *line) (err error) {
	r := reception{op: -1, conv: -1, t: l.num[fT], line: l.number, src: resynced}
	if r.sock, err = b.sock(l); err != nil {
		return err
	}
	r.dev = b.h.socks[r.sock].dev
	if l.str(fConv) != nil {
		if r.conv, err = b.conv(l); err != nil {
			return err
		}
	}
	b.h.recvs = append(b.h.recvs, r)
	return nil
}

func (b *builder) recv(l *line) error {
	dev, conv, err := b.where(l, fDev)
	if err != nil {
		return err
	}
	by, err := b.dev(l, fBy)
	if err != nil {
		return err
	}
	r := reception{dev: dev, conv: conv, seq: l.num[fSeq], t: l.num[fT], line: l.number}
	switch string(l.text[fSrc]) {
	case "live":
		r.src = live
	case "resume":
		r.src = resumed
	case "history":
		r.src = fetched
	default:
		return fmt.Errorf("has the src %.40q: live, resume or history", l.text[fSrc])
	}
	if r.sock, err = b.sock(l); err != nil {
		return err
	}
	if !b.above(conv, r.seq) {
		return nil
	}
	r.op, r.msg, r.hash = b.message(by, l.text[fCmid]), digest(l.text[fMsg]), digest(l.text[fHash])
	b.h.recvs = append(b.h.recvs, r)
	return nil
}

// read begins a page of history: the receptions that name its sock are on it.
func (b *builder) read(l *line) error {
	dev, conv, err := b.where(l, fDev)
	if err != nil {
		return err
	}
	name, node := string(l.text[fSock]), b.h.nodes.number(l.text[fNode])
	if _, taken := b.socks[name]; taken {
		return fmt.Errorf("takes the name %.40q a second time", name)
	}
	sock := int32(len(b.h.socks))
	b.socks[name] = sock
	b.h.socks = append(b.h.socks, socket{dev: dev, node: node, session: -1, page: true, line: l.number})
	b.h.reads = append(b.h.reads, reading{sock, conv, node, max(l.num[fAfter], b.h.convs[conv].base), l.flag(fMore), l.num[fBegin], l.number})
	return nil
}

func (b *builder) caughtUp(l *line) error {
	dev, conv, err := b.where(l, fDev)
	if err != nil {
		return err
	}
	b.h.caught = append(b.h.caught, caughtUp{dev, conv, l.num[fSeq], l.num[fT], l.number})
	return nil
}

func (b *builder) mark(l *line) error {
	dev, conv, err := b.where(l, fDev)
	if err != nil {
		return err
	}
	m := mark{user: b.h.devices[dev].user, conv: conv, node: -1, seq: l.num[fSeq], unread: l.opt(fUnread, -1), begin: l.num[fBegin], t: l.num[fT], line: l.number}
	if node := l.str(fNode); node != nil {
		m.node = b.h.nodes.number(node)
	}
	switch string(l.text[fKind]) {
	case "seen":
	case "set":
		m.set = true
	case "final":
		m.final = true
	default:
		return fmt.Errorf("has the kind %.40q: set, seen or final", l.text[fKind])
	}
	b.h.marks = append(b.h.marks, m)
	return nil
}

// aSecond is what the protocol grants a revocation and a removal.
const aSecond = int64(1e9)

func (b *builder) revoke(l *line) error {
	b.h.revokes = append(b.h.revokes, revocation{b.sessions.number(l.text[fSession]), l.num[fT], l.opt(fWithin, aSecond), l.number})
	return nil
}
