// Package token is the caller's identity: signed by auth, checked by everyone
// without asking, and carried in the context.
//
// The proof is a JSON Web Token (RFC 7519) in the profile that RFC 8725 asks
// for: one algorithm (EdDSA with Ed25519), one type (at+jwt, RFC 9068), one
// issuer and audience, public halves only from the process's own set and only
// by kid. A header that names anything beyond alg, typ and kid is refused.
//
// It guarantees: [Verifier.Verify] makes no request to anybody and reads at most
// [MaxLen] bytes; every refusal reads the same to the caller, and its reason is
// counted and logged; expiry and revocation are judged anew at every call, cache
// or not. It does not guarantee that a revoked session is known here yet: who
// feeds [Revocations] decides how soon.
package token
