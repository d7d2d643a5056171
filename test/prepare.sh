#!/bin/bash
# Brings what the tests need and this machine lacks: gcc for the race detector,
# Node.js for the web client, a browser, Prometheus, PostgreSQL, Redis, Kafka,
# nginx, Caddy, and on Linux strace, which lets fsync fail. On Debian and Ubuntu,
# as root, it installs them; elsewhere it names what is left out and how to bring
# it. Kafka comes as artefacts of Maven into the user's cache folder, also
# without root. With CI=true leaving something out is a failure.
#
# It prints one line for each thing left out, as NAME<tab>HOW, to the file $1,
# or to the terminal.
set -uo pipefail
cd "$(dirname "$0")/.."
show=
[ $# -gt 0 ] || { set -- "$(mktemp)"; show=yes; }
left=$1
: > "$left"

need=()
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
want() { # command package
	have "$1" || need+=("$2")
}
postgres() { have initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || compgen -G '/opt/homebrew/opt/postgresql@*/bin/initdb' >/dev/null || compgen -G '/usr/local/opt/postgresql@*/bin/initdb' >/dev/null; }
pom=test/servers/pom.xml
version=$(sed -n 's/.*<artifactId>kafka_[0-9.]*<\/artifactId><version>\([^<]*\)<.*/\1/p' $pom)
jars=${XDG_CACHE_HOME:-$HOME/.cache}/nova/kafka-$version
kafka() { have java && compgen -G "$jars/kafka_*.jar" >/dev/null; }

want gcc gcc
want cc libc6-dev
have cc && [ ! -e /usr/include/stdlib.h ] && need+=(libc6-dev)
want node nodejs
want npm npm
want chromium chromium
want prometheus prometheus
want curl curl
want jq jq
postgres || need+=(postgresql-15)
want redis-server redis-server
want nginx nginx
want caddy caddy
want java default-jre-headless
compgen -G "$jars/kafka_*.jar" >/dev/null || want mvn maven
[ "$(uname)" = Linux ] && want strace strace

if [ ${#need[@]} -gt 0 ] && have apt-get && [ "$(id -u)" = 0 ]; then
	export DEBIAN_FRONTEND=noninteractive
	# Services are not to be started: the tests start their own.
	policy=/usr/sbin/policy-rc.d
	[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy && made=1; }
	log=$(mktemp)
	apt-get update >"$log" 2>&1 || tail -n 20 "$log"
	# A release without PostgreSQL 15 has a later one, and an old one has no
	# Caddy: what it does not know must not keep the rest away.
	apt-cache show postgresql-15 >/dev/null 2>&1 || need=("${need[@]/#postgresql-15/postgresql}")
	known=()
	for package in "${need[@]}"; do
		apt-cache show "$package" >/dev/null 2>&1 && known+=("$package")
	done
	echo "installing: ${known[*]:-nothing}"
	[ ${#known[@]} -eq 0 ] || apt-get install -y --no-install-recommends "${known[@]}" >"$log" 2>&1 || tail -n 20 "$log"
	[ -n "${made:-}" ] && rm -f $policy
	rm -f "$log"
fi

if ! kafka && have java && have mvn; then
	echo "bringing Kafka $version"
	mkdir -p "$(dirname "$jars")"
	part=$(mktemp -d "$jars.XXXXXX")
	log=$(mktemp)
	if mvn -q -B -f $pom dependency:copy-dependencies -DoutputDirectory="$part" -DincludeScope=runtime >"$log" 2>&1; then
		mkdir -p "$jars"
		mv "$part"/*.jar "$jars"
	else
		tail -n 20 "$log"
	fi
	rm -rf "$part" "$log"
fi

miss() { printf '%s\t%s\n' "$1" "$2" >> "$left"; }
have gcc || miss "race detector" "install gcc"
have node && have npm || miss "web client" "install Node.js 18.19 or later with npm"
have chromium || [ -n "${NOVA_CHROMIUM:-}" ] || miss "browser tests" "install Chromium, or set NOVA_CHROMIUM to its path"
[ "$(uname)" != Linux ] || have strace || miss "fsync failures" "install strace"
have prometheus && have curl && have jq || miss "literal checks" "install prometheus (2.42 or later), curl and jq"
postgres || miss "PostgreSQL" "install PostgreSQL 15 or later (some tests run on one that NOVA_TEST_POSTGRES names)"
have redis-server || miss "Redis" "install Redis 7 or later (some tests run on one that NOVA_TEST_REDIS names)"
kafka || miss "Kafka" "install Java 17 and Maven (some tests run on one that NOVA_TEST_KAFKA names)"
have nginx || miss "nginx" "install nginx"
have caddy || miss "Caddy" "install Caddy"

[ -z "$show" ] || { sed 's/^/left out: /' "$left"; }
code=0
if [ -s "$left" ] && [ "${CI:-}" = true ]; then
	echo "CI may leave nothing out, but these could not be brought:" >&2
	cat "$left" >&2
	code=1
fi
[ -z "$show" ] || rm -f "$left"
exit $code
