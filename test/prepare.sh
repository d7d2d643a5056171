#!/bin/bash
# Brings what the tests need and this machine lacks: gcc for the race detector,
# Node.js for the web client, a browser, Prometheus, and on Linux strace, which
# lets fsync fail. On Debian and Ubuntu, as root, it installs them; elsewhere it
# names what is left out and how to bring it. With CI=true leaving something out
# is a failure.
#
# It prints one line for each thing left out, as NAME<tab>HOW, to the file $1.
set -uo pipefail
left=${1:?file for what is left out}
: > "$left"

need=()
have() { command -v "$1" >/dev/null 2>&1; }
want() { # command package
	have "$1" || need+=("$2")
}
want gcc gcc
want cc libc6-dev
have cc && [ ! -e /usr/include/stdlib.h ] && need+=(libc6-dev)
want node nodejs
want npm npm
want chromium chromium
want prometheus prometheus
want curl curl
want jq jq
[ "$(uname)" = Linux ] && want strace strace

if [ ${#need[@]} -gt 0 ] && have apt-get && [ "$(id -u)" = 0 ]; then
	echo "installing: ${need[*]}"
	export DEBIAN_FRONTEND=noninteractive
	# Services are not to be started: the tests start their own.
	policy=/usr/sbin/policy-rc.d
	[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy && made=1; }
	log=$(mktemp)
	{ apt-get update && apt-get install -y --no-install-recommends "${need[@]}"; } >"$log" 2>&1 || tail -n 20 "$log"
	[ -n "${made:-}" ] && rm -f $policy
	rm -f "$log"
fi

miss() { printf '%s\t%s\n' "$1" "$2" >> "$left"; }
have gcc || miss "race detector" "install gcc"
have node && have npm || miss "web client" "install Node.js 18.19 or later with npm"
have chromium || [ -n "${NOVA_CHROMIUM:-}" ] || miss "browser tests" "install Chromium, or set NOVA_CHROMIUM to its path"
[ "$(uname)" != Linux ] || have strace || miss "fsync failures" "install strace"
have prometheus && have curl && have jq || miss "literal checks" "install prometheus (2.42 or later), curl and jq"

if [ -s "$left" ] && [ "${CI:-}" = true ]; then
	echo "CI may leave nothing out, but these could not be brought:" >&2
	cat "$left" >&2
	exit 1
fi
exit 0
