package sqldb

// MaxWaiting is how many requests may wait.
const MaxWaiting = maxWaiting

// Waiting is how many requests wait for the writer.
func Waiting(db *DB) int { return db.writer.queue.size() }
