#!/bin/bash
# Runs the fuzzers of what strangers can send: TIME each, default 20s.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-20s}
grep -rlE '^func Fuzz' --include='*_test.go' internal | sort | while read -r file; do
	dir=$(dirname "$file")
	for name in $(grep -oE '^func Fuzz[A-Za-z0-9]+' "$file" | cut -c6-); do
		case " ${ONLY:-FuzzParseCorrelation FuzzCorrelation FuzzDecode FuzzScanSend FuzzReader FuzzRead} " in *" $name "*) ;; *) [ "${ONLY:-}" = all ] || continue ;; esac
		echo "fuzz $dir $name $time"
		go test "./$dir" -run '^$' -fuzz "^$name\$" -fuzztime "$time" >/tmp/nova-fuzz.$$ 2>&1 || { cat /tmp/nova-fuzz.$$; exit 1; }
		tail -n 2 /tmp/nova-fuzz.$$
	done
done
rm -f /tmp/nova-fuzz.$$
