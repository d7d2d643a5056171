// Package blob keeps objects: bytes under a name, such as an uploaded picture.
//
// [Store] is what every implementation does; [Disk] keeps the objects in a
// folder. It guarantees:
//
//   - Put is all or nothing: a name has its old object, or none, until the new
//     one is complete and fsynced, folder included.
//   - What Get gives is what Put was given. Each object carries SHA-256 sums of
//     its pieces; a piece that does not match is never handed out, wherever the
//     reader begins.
//   - No name leads out of the folder, and nobody but the owner may read it.
//
// It does not keep versions, list names, or know who may see what; it does not
// tell apart names that differ in case alone where the file system does not. It
// makes no links either: a folder has no address of its own. Links come with the
// first store that a client can reach directly; until then a service hands
// objects out on its own route.
package blob
