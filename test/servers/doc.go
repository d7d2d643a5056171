// Package servers gives tests real servers: PostgreSQL, Redis, Apache Kafka,
// nginx and Caddy on free loopback ports, each with its data in a temporary
// folder, and a proxy that cuts and slows connections to them.
//
// [Postgres], [Redis] and [Kafka] are for tests that need any server: they use
// the one that NOVA_TEST_POSTGRES, NOVA_TEST_REDIS or NOVA_TEST_KAFKA names
// (`make test` starts one of each for all packages), else one per test process.
// [StartPostgres], [StartRedis] and [StartKafka] give a server of its own to a
// test that stops, kills or pauses it or empties it.
//
// It guarantees: a server answers requests when it is handed out; PostgreSQL
// keeps fsync on; what was killed starts again on the same port and folder; and
// nothing is left behind, even if the test process is killed, since a guard
// process notices and ends what this process started, and nothing else. A
// server that is missing fails the test with CI=true, and else skips it by name
// with the command that brings it.
//
// It does not guarantee an order or a speed, nor that a server of a variable is
// empty: Postgres makes a database and Redis empties a logical one, but topics
// on a shared Kafka need names of their own.
package servers
