package auth

import (
	"context"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
)

// Deps is what the service stands on.
type Deps struct {
	Obs    *obs.Obs
	Group  *run.Group
	DB     *sqldb.DB
	Outbox *outbox.Outbox // migrated by the caller; may be nil for [Seed] alone
	Events bus.Events     // brings user.renamed; nil where nothing is consumed

	// Seal protects the keys in the database: 32 bytes in base64, the same in all
	// processes that share it. If none is given the one in the folder KeysDir is
	// taken; it is made, and the folder, at the first start. A seal that is given in
	// place of the folder's takes over what that one had sealed.
	Seal    obs.Secret
	KeysDir string

	// Revocations of this process, if it verifies identities itself: what ends
	// here is refused here before the caller has its answer. May be nil.
	Revocations *token.Revocations
	// Tell passes the end of a session on to other processes, which would hear of
	// it a little later otherwise. It does not wait; nil = there are none.
	Tell func(ctx context.Context, sessionID string, until time.Time)

	Peers *limit.Peers // with which limits are shared; nil = this process is alone

	Config Config
}

// Config holds the durations and limits. The zero value of a field means its
// default.
type Config struct {
	AccessLife  time.Duration // of an access proof; 5 minutes
	RefreshIdle time.Duration // a session unused for so long is over; 30 days
	SessionLife time.Duration // a session is over so long after its login; 90 days
	Grace       time.Duration // for a repeated refresh; 10 seconds
	TicketLife  time.Duration // 30 seconds

	LoginsPerAddress        limit.Rate // 20 per minute
	RegistrationsPerAddress limit.Rate // 30 per hour

	Hashing HashConfig
}

// HashConfig sets the cost of a password's hash and how many may be computed.
type HashConfig struct {
	MemoryKiB uint32        // 19,456
	Passes    uint32        // 2
	Slots     int           // computations at a time; half the processors, at least 1
	Queue     int           // computations that wait for a slot; 64
	Wait      time.Duration // how long one waits; 2 seconds
}

const (
	maxSessions    = 50               // of one account
	recheck        = time.Second / 2  // how often a long poll looks for other processes' commits
	maxPoll        = 25 * time.Second // the longest a long poll is held
	pruneEvery     = time.Minute
	pruneBatch     = 256  // rows of each kind at a time
	maxAccountsAsk = 1000 // identifiers in one call
)

func (c Config) withDefaults() Config {
	setDefault(&c.AccessLife, 5*time.Minute)
	setDefault(&c.RefreshIdle, 30*24*time.Hour)
	setDefault(&c.SessionLife, 90*24*time.Hour)
	setDefault(&c.Grace, 10*time.Second)
	setDefault(&c.TicketLife, 30*time.Second)
	setDefault(&c.LoginsPerAddress, limit.Rate{PerSecond: 20.0 / 60, Burst: 20})
	setDefault(&c.RegistrationsPerAddress, limit.Rate{PerSecond: 30.0 / 3600, Burst: 30})
	setDefault(&c.Hashing.MemoryKiB, 19456)
	setDefault(&c.Hashing.Passes, 2)
	setDefault(&c.Hashing.Slots, defaultSlots())
	setDefault(&c.Hashing.Queue, 64)
	setDefault(&c.Hashing.Wait, 2*time.Second)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
