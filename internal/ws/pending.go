package ws

// Pending is what waits to be written: the number of frames and their bytes.
// Whoever has much to send asks it, to send no faster than the client takes it.
func (c *Conn) Pending() (frames, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue), c.bytes
}
