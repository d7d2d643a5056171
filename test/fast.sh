#!/bin/bash
# The Go tests without servers, browser, Prometheus and long rounds, and at the
# end the names of the tests that were left out for want of a server. What the
# variables NOVA_TEST_POSTGRES, NOVA_TEST_REDIS and NOVA_TEST_KAFKA name is used.
set -uo pipefail
cd "$(dirname "$0")/.."
left=$(mktemp)
trap 'rm -f "$left"' EXIT
NOVA_TEST_LEFT_OUT=$left "${GO:-go}" test -short ./...
code=$?
if [ -s "$left" ]; then
	echo
	echo "Left out, make test runs them:"
	sort -u "$left" | awk -F '\t' '{ tests[$2] = tests[$2] " " $1 } END { for (what in tests) printf "  %s\n   %s\n", what, tests[what] }' | fold -s -w 120
fi
exit $code
