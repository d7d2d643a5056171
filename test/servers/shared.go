package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
)

// The variables that name a server which runs already.
const (
	EnvPostgres = "NOVA_TEST_POSTGRES" // postgres://, a role that may make databases
	EnvRedis    = "NOVA_TEST_REDIS"    // redis://, its logical databases from 1 on are emptied
	EnvKafka    = "NOVA_TEST_KAFKA"    // host:port, several with commas
	// EnvLeftOut is a file to which each test that is skipped for want of a
	// server adds its name and what would bring the server.
	EnvLeftOut = "NOVA_TEST_LEFT_OUT"
)

var kinds = map[string]string{EnvPostgres: "PostgreSQL", EnvRedis: "Redis", EnvKafka: "Kafka"}

// One of each for the whole test process, started by the first that asks.
var (
	onePostgres = sync.OnceValues(func() (string, error) {
		s, err := NewPostgres(PostgresOptions{})
		if err != nil {
			return "", err
		}
		return s.URL, nil
	})
	oneRedis = sync.OnceValues(func() (string, error) {
		s, err := NewRedis(RedisOptions{})
		if err != nil {
			return "", err
		}
		return s.URL, nil
	})
	oneKafka = sync.OnceValues(func() (string, error) {
		s, err := NewKafka(KafkaOptions{})
		if err != nil {
			return "", err
		}
		return strings.Join(s.Brokers, ","), nil
	})
)

// Main runs the tests of a package. The guard ends what they share when this
// process exits; calling Main from TestMain says that there is something to end.
func Main(m *testing.M) { m.Run() }

// Postgres returns the URL of a new, empty database, which is dropped when the
// test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	at, drop, err := NewDatabase(named(t, EnvPostgres, onePostgres))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Error(err)
		}
	})
	return at
}

// NewDatabase makes a database on a server and gives its URL and what drops it.
func NewDatabase(server string) (at string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, errors.New("the URL of PostgreSQL cannot be parsed") // it holds a login
	}
	name := "nova_test_" + strings.ToLower(rand.Text())
	u.Path = "/" + name
	drop = func() error { return runSQL(server, "DROP DATABASE "+name+" WITH (FORCE)") }
	return u.String(), drop, runSQL(server, "CREATE DATABASE "+name+" TEMPLATE template0")
}

// PostgresRole makes a role that owns a schema of the database and may do
// nothing else, and returns the URL with its login.
func PostgresRole(t testing.TB, database, schema string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal("the URL of PostgreSQL cannot be parsed")
	}
	name, word := "nova_test_"+strings.ToLower(rand.Text()), rand.Text()
	execSQL(t, database, "CREATE ROLE "+name+" LOGIN PASSWORD '"+word+"'")
	t.Cleanup(func() { execSQL(t, database, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	execSQL(t, database, fmt.Sprintf("CREATE SCHEMA %q AUTHORIZATION %s", schema, name))
	u.User = url.UserPassword(name, word)
	return u.String()
}

func execSQL(t testing.TB, server, statement string) {
	t.Helper()
	if err := runSQL(server, statement); err != nil {
		t.Fatal(err)
	}
}

func runSQL(server, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	c, err := pgconn.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	_, err = c.Exec(ctx, statement).ReadAll()
	if err := errors.Join(err, c.Close(ctx)); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// Redis returns the URL of an empty logical database that no other test uses
// meanwhile. FLUSHALL and CONFIG would hit the others: use StartRedis for them.
func Redis(t testing.TB) string {
	t.Helper()
	server := named(t, EnvRedis, oneRedis)
	o, err := redis.ParseURL(server)
	if err != nil {
		t.Fatal("the URL of Redis cannot be parsed") // it may hold a login
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	n, err := claim(t, c)
	if err != nil {
		t.Fatalf("find a logical database of Redis: %v", err)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = fmt.Sprintf("/%d", n)
	return u.String()
}

// claim takes the first logical database that nobody holds, and empties it. A
// note in database 0 says who holds it; it expires in case its holder is killed.
func claim(t testing.TB, c *redis.Client) (int, error) {
	ctx := context.Background()
	for n := 1; n < logicalDatabases; n++ {
		note := fmt.Sprintf("nova-test-database-%d", n)
		ok, err := c.SetNX(ctx, note, t.Name(), time.Hour).Result()
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		t.Cleanup(func() { c.Del(ctx, note) })
		own := *c.Options()
		own.DB = n
		d := redis.NewClient(&own)
		return n, errors.Join(d.FlushDB(ctx).Err(), d.Close())
	}
	return 0, errors.New("all are taken")
}

// Kafka returns the addresses of a broker that other tests use too: topics and
// groups need names of their own.
func Kafka(t testing.TB) []string {
	t.Helper()
	return strings.Split(named(t, EnvKafka, oneKafka), ",")
}

// StartPostgres starts a server for this test alone.
func StartPostgres(t testing.TB, o PostgresOptions) *PostgresServer {
	t.Helper()
	allowed(t, "PostgreSQL")
	s, err := NewPostgres(o)
	have(t, err)
	adopt(t, s.Server)
	return s
}

// StartStandby starts one that follows a server of this test.
func StartStandby(t testing.TB, of *PostgresServer) *PostgresServer {
	t.Helper()
	s, err := of.NewStandby()
	have(t, err)
	adopt(t, s.Server)
	return s
}

// StartRedis starts a server for this test alone.
func StartRedis(t testing.TB, o RedisOptions) *RedisServer {
	t.Helper()
	allowed(t, "Redis")
	s, err := NewRedis(o)
	have(t, err)
	adopt(t, s.Server)
	return s
}

// StartKafka starts one or three nodes for this test alone.
func StartKafka(t testing.TB, o KafkaOptions) *KafkaServer {
	t.Helper()
	allowed(t, "Kafka")
	s, err := NewKafka(o)
	have(t, err)
	adopt(t, s.Nodes...)
	return s
}

// adopt ties servers to a test: their errors are its errors, and they end with it.
func adopt(t testing.TB, all ...*Server) {
	for _, s := range all {
		s.report = func(err error) { t.Error(err) }
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the end of the log of %s:\n%s", s.name, s.tail())
			}
			_ = s.Close() // reported
		})
	}
}

// missing says which server a test does without, and what brings it.
type missing struct{ what, bring string }

func (m missing) Error() string { return m.what + " is left out: " + m.bring }

// named returns the server that the variable names, else the one of this process.
func named(t testing.TB, variable string, start func() (string, error)) string {
	t.Helper()
	if at := os.Getenv(variable); at != "" {
		return at
	}
	allowed(t, kinds[variable])
	at, err := start()
	have(t, err)
	return at
}

// allowed skips in short mode, which is for machines and moments without servers.
func allowed(t testing.TB, what string) {
	t.Helper()
	if testing.Short() && os.Getenv("CI") != "true" {
		leaveOut(t, missing{what, "-short does without servers, make test brings them"})
	}
}

// have skips a test, with CI=true fails it, if its server is missing.
func have(t testing.TB, err error) {
	t.Helper()
	if m, ok := errors.AsType[missing](err); ok && os.Getenv("CI") != "true" {
		leaveOut(t, m)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func leaveOut(t testing.TB, m missing) {
	t.Helper()
	if path := os.Getenv(EnvLeftOut); path != "" {
		note(t, path, m)
	}
	t.Skip(m.Error())
}

func note(t testing.TB, path string, m missing) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "%s\t%v\n", t.Name(), m)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
