package load

import "strconv"

// The rows of a history that devices write while they talk.

// send is written before the frame is.
func (j *journal) send(dev int, link string, m *message) {
	if j == nil {
		return
	}
	again := m.tried
	m.tried = true
	j.row("send")
	j.dev(dev)
	j.raw("sock", []byte(link))
	j.raw("conv", []byte(m.conv.id))
	j.uuid(m.id)
	j.scratch = m.body(j.scratch[:0])
	j.hash(j.scratch)
	if again {
		j.name("again")
		j.buf = append(j.buf, "true"...)
	}
	j.time()
	j.end()
}

func (j *journal) ack(dev int, link string, m *message, id []byte, seq int64) {
	if j == nil {
		return
	}
	j.row("ack")
	j.dev(dev)
	j.raw("sock", []byte(link))
	j.uuid(m.id)
	j.raw("msg", id)
	j.number("seq", seq)
	j.time()
	j.end()
}

func (j *journal) fail(dev int, link string, m *message, reason string, definite bool) {
	if j == nil || link == "" {
		return
	}
	j.row("fail")
	j.dev(dev)
	j.raw("sock", []byte(link))
	j.uuid(m.id)
	kind := "indeterminate"
	if definite {
		kind = "definite"
	}
	j.raw("kind", []byte(kind))
	j.text("reason", reason)
	j.time()
	j.end()
}

// open gives a socket its name.
func (j *journal) open(dev int, node string, session []byte, from map[string]int64) (link string) {
	j.row("open")
	defer j.end()
	j.opened++
	link = "s" + strconv.Itoa(j.opened)
	j.dev(dev)
	j.raw("sock", []byte(link))
	j.text("node", node)
	j.raw("session", session)
	j.name("from")
	before := byte('{')
	for conv, seq := range from {
		j.buf = strconv.AppendQuote(append(j.buf, before), conv)
		j.buf = strconv.AppendInt(append(j.buf, ':'), seq, 10)
		before = ','
	}
	if len(from) == 0 {
		j.buf = append(j.buf, before)
	}
	j.buf = append(j.buf, '}')
	j.time()
	return link
}

func (j *journal) closed(dev int, link string, code int, pending map[int]*message) {
	if j == nil || link == "" {
		return
	}
	for _, m := range pending {
		j.fail(dev, link, m, "socket_lost", false)
	}
	j.row("close")
	j.dev(dev)
	j.raw("sock", []byte(link))
	j.number("code", int64(code))
	j.time()
	j.end()
}

func (j *journal) resync(link string, conv []byte) {
	if j == nil || link == "" {
		return
	}
	j.row("resync")
	j.raw("sock", []byte(link))
	if conv != nil {
		j.raw("conv", conv)
	}
	j.time()
	j.end()
}

func (j *journal) recv(dev int, link string, e event, catching bool) {
	if j == nil {
		return
	}
	src := "live"
	if catching {
		src = "resume"
	}
	by := j.author(text(e.raw, keySender), text(e.raw, keyDevice))
	j.received(dev, link, src, content{string(e.conversation), by, e.seq, text(e.raw, keyID), e.clientID, e.body})
}

// content is what a row says of a message.
type content struct {
	conv, by       string
	seq            int64
	id, cmid, body []byte
}

func (j *journal) received(dev int, link, src string, m content) {
	j.row("recv")
	j.dev(dev)
	if link != "" {
		j.raw("sock", []byte(link))
	}
	j.message(m)
	j.raw("src", []byte(src))
	j.time()
	j.end()
}

func (j *journal) message(m content) {
	j.raw("conv", []byte(m.conv))
	j.number("seq", m.seq)
	j.raw("msg", m.id)
	j.raw("cmid", m.cmid)
	j.raw("by", []byte(m.by))
	j.hash(m.body)
}

// fetched is what came over REST, on a page that has a name or on none.
func (j *journal) fetched(dev int, link, conv string, page []logged) {
	if j == nil {
		return
	}
	for _, e := range page {
		by := j.author([]byte(e.SenderID), []byte(e.DeviceID))
		j.received(dev, link, "history", e.row(conv, by))
	}
}

func (e logged) row(conv, by string) content {
	return content{conv, by, e.Seq, []byte(e.ID), []byte(e.ClientMsgID), []byte(e.Body)}
}
