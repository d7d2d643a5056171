package sqldb

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nova-chat/nova/internal/obs"
)

const (
	copyFrom = walPages / 4 // pages written after which copying begins beside the writer
	copyLast = 1024         // pages that the writer may copy itself without a stall that shows
	copyRuns = 3
)

// checkpoints copies the log into the database on a connection of its own while
// the writer goes on, so that the copying which a full log forces upon a commit
// is rare. The last few pages are the writer's: only when nobody writes can the
// log be found copied to the end, and then the next commit starts it over.
type checkpoints struct {
	db    *DB
	conn  *conn
	pages int           // written since the last copying; the writer's alone
	wake  chan struct{} // to the goroutine
	ready chan struct{} // to the writer: little is left
	quit  chan struct{}
	once  sync.Once
	going atomic.Bool // the goroutine was started
	ended chan struct{}
}

func newCheckpoints(e *lite) (*checkpoints, error) {
	c, err := connect(e.path, "BEGIN DEFERRED", append(append([]setting(nil), strict...), writing...))
	if err != nil {
		return nil, err
	}
	return &checkpoints{
		db: e.db, conn: c,
		wake: make(chan struct{}, 1), ready: make(chan struct{}, 1),
		quit: make(chan struct{}), ended: make(chan struct{}),
	}, nil
}

// after is called by the writer after each group, with its connection.
func (cp *checkpoints) after(c *conn) {
	select {
	case <-cp.ready:
		_, _ = cp.copy(c)
		cp.pages = 0
	default:
	}
	if cp.pages += c.written(); cp.pages >= copyFrom {
		cp.pages = 0
		select {
		case cp.wake <- struct{}{}:
		default:
		}
	}
}

func (cp *checkpoints) loop() {
	defer close(cp.ended)
	for {
		select {
		case <-cp.wake:
			cp.run()
		case <-cp.quit:
			return
		}
	}
}

// run copies until little is left. What fails here fails again, and is
// answered, when a commit has to copy.
func (cp *checkpoints) run() {
	for range copyRuns {
		left, err := cp.copy(cp.conn)
		if err != nil {
			f := classify(err)
			cp.db.count(f)
			cp.db.log.LogAttrs(processContext, slog.LevelWarn, "the log could not be copied into the database", obs.Cause(f))
			return
		}
		if left <= copyLast {
			select {
			case cp.ready <- struct{}{}:
			default:
			}
			return
		}
	}
}

// copy copies what no snapshot holds back and gives the number of pages left.
func (cp *checkpoints) copy(c *conn) (left int64, err error) {
	row, err := c.pragmaRow("wal_checkpoint(PASSIVE)", 3)
	if err != nil || row == nil {
		return 0, err
	}
	total, _ := row[1].(int64)
	copied, _ := row[2].(int64)
	return total - copied, nil
}

func (cp *checkpoints) close() error {
	cp.once.Do(func() { close(cp.quit) })
	if cp.going.Load() {
		<-cp.ended
	}
	return cp.conn.close()
}
