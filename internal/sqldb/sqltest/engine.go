package sqltest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nova-chat/nova/test/servers"
)

// EnvEngine is the variable that says on which engine the tests of services
// run: "postgres", or SQLite.
const EnvEngine = "NOVA_TEST_ENGINE"

// databases are those of PostgreSQL, by the folder that they stand for.
var databases sync.Map

// In is the address of the database of a folder: the same folder has the same
// database, as after a restart. It is for the
// tests of services, whose SQL is the same on every engine; they run whole on
// the one that EnvEngine names.
func In(tb testing.TB, dir string) string {
	tb.Helper()
	if os.Getenv(EnvEngine) != "postgres" {
		return "sqlite:" + filepath.Join(dir, "nova.db")
	}
	if url, ok := databases.Load(dir); ok {
		return url.(string)
	}
	url := servers.Postgres(keeper{tb})
	databases.Store(dir, url)
	return url
}

// keeper is a test whose database stays: a folder may be a subtest's or its
// parent's, and what runs on the database may end later than either.
type keeper struct{ testing.TB }

// Cleanup puts it off until Main ends.
func (keeper) Cleanup(fn func()) {
	ends.Lock()
	defer ends.Unlock()
	ends.list = append(ends.list, fn)
}

var ends struct {
	sync.Mutex
	list []func()
}

// clean drops the databases.
func clean() {
	for _, fn := range ends.list {
		fn()
	}
}
