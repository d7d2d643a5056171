//go:build !mutant

package mutant

// Name is the tag of the mutant that this build is; "" = it is Nova.
const Name = ""
