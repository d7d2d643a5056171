#!/bin/bash
# Runs the fuzzers: those of what strangers send first, frames and the correlation
# header, for TIME each (default 20s), the others for a quarter of it. ALL=1 takes
# every fuzzer that there is.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-20s}
quarter=$((${time%s} / 4))s
out=$(mktemp)
trap 'rm -f "$out"' EXIT
run() { # TIME NAME
	local file
	file=$(grep -rlE "^func $2\(" --include='*_test.go' internal)
	echo "fuzz $(dirname "$file") $2 $1"
	go test -vet=off "./$(dirname "$file")" -run '^$' -fuzz "^$2\$" -fuzztime "$1" >"$out" 2>&1 || { cat "$out"; exit 1; }
	tail -n 2 "$out"
}
first="FuzzReader FuzzCorrelation FuzzDecode"
rest="FuzzScanSend FuzzParseCorrelation FuzzRead"
[ -z "${ALL:-}" ] || rest=$(grep -rhoE '^func Fuzz[A-Za-z0-9]+' --include='*_test.go' internal | cut -c6- | grep -vwE "${first// /|}")
for name in $first; do run "$time" "$name"; done
for name in $rest; do run "$quarter" "$name"; done
