// Package user is the service that knows how people present themselves:
// profiles, and the search for them.
//
// It guarantees:
//
//   - Every account has a profile as soon as somebody asks for it by its id: it
//     is made from the event user.registered, or at the first read from auth's
//     word, whichever comes first. The same event twice changes nothing,
//     whichever node it reaches, and what an owner has changed is never undone.
//   - A new display name and the event user.renamed are one transaction.
//   - A search finds what it is given, literally, within user names and display
//     names, whatever characters it holds; its pages neither repeat nor skip
//     anybody who does not register or rename themselves meanwhile.
//
// It does not guarantee that a search finds an account at once: it may lag
// behind a registration by the time that the event takes. A profile that other
// services ask for may be as old as the cache allows, half a minute, where
// another node changed it.
package user
