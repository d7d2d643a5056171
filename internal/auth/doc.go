// Package auth is the service that knows who somebody is: accounts, sessions,
// the proofs that are given out, and the keys that sign them.
//
// It guarantees:
//
//   - An account, its first session and the event user.registered are one
//     transaction: all of them exist or none does.
//   - A device of an account has at most one session, an account at most 50.
//     Opening one more ends the one before, or the least recently used.
//   - What ends a session (logout, removal, a newer login, a reused refresh
//     proof) stands in the revocation log, in the order of its commits, before
//     the caller has its answer; [Service.Revocations] wakes at the commit.
//   - A refresh proof works once. For ten seconds the one before the present one
//     answers the same successor, so that a lost answer or fifty callers at once
//     do no harm; after that, and for every older one, its use ends the session.
//   - Passwords are hashed with argon2id by a bounded number of workers; refresh
//     proofs and tickets are stored as SHA-256; signing and derivation keys are
//     sealed with a key that is kept outside the database.
//   - All of this holds over any number of processes on one database: they sign
//     with the same keys, a ticket is redeemed once wherever, failures of a name
//     count together, and the revocation log has one order. A long poll on one
//     node learns within half a second of what another has committed. It rests on
//     sqldb, whose writes to one database are one after the other, on all nodes.
//   - A new signing key is published ten minutes before it signs, and stays for
//     as long as anything that it signed can live.
//   - An unknown account and a wrong password cost the same work and get the
//     same answer. The reason is counted and logged, always both.
//
// It does not guarantee that a lockout counts exactly: as many attempts as the
// hashing queues of all nodes hold may be judged at the same moment. The limits
// by address count in each process for itself. It cannot tell which
// device presents a refresh proof, since the proof is all that device has.
// An access proof is checked without asking auth; between a revocation and
// the moment at which a node hears of it the proof still passes there.
package auth
