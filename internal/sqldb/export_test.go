package sqldb

// MaxWaiting is how many requests may wait.
const MaxWaiting = maxWaiting

// Waiting is how many requests wait for the writer.
func Waiting(db *DB) int {
	q := &db.writer.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
