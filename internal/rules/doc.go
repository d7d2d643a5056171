// Package rules holds the tests that hold the tree together: who may import
// whom, where drivers and go statements may stand, that every package says what
// it guarantees. Each failure prints the reason of the rule it breaks. There is
// nothing in it but tests.
package rules
