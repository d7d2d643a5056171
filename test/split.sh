#!/bin/bash
# Nova on several machines, all of them this one: the five services in processes
# of their own, messaging in two, over real PostgreSQL, Redis and Kafka, with
# mutual TLS between them and the shipped nginx configuration in front. Two
# browsers on different messaging nodes chat while one node is killed and comes
# back. A real Prometheus scrapes all of it, and nova audit judges.
#
#   test/split.sh          starts it all, tests it, ends it
#   test/split.sh --stay   leaves it running until Ctrl-D, to look at
#
# Uses the servers that NOVA_TEST_POSTGRES, NOVA_TEST_REDIS and NOVA_TEST_KAFKA
# name and starts those that are not named. Needs what make test installs.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin
nova=$PWD/bin/nova
go build -o "$nova" ./cmd/nova
[ -d client/node_modules ] || (cd client && npm ci --no-audit --no-fund --loglevel=error)

die() { echo "split: $*" >&2; exit 1; }
for command in nginx prometheus psql curl node; do
	command -v "$command" >/dev/null || die "$command is not installed (test/prepare.sh brings it on Debian)"
done

dir=$(mktemp -d)
mkdir "$dir/run"
end() {
	shopt -s nullglob
	for file in "$dir"/run/*.pid; do
		kill -TERM "$(cat "$file")" 2>/dev/null || true
	done
	for file in "$dir"/run/*.pid; do
		until_ 40 gone "$(cat "$file")" || kill -KILL "$(cat "$file")" || true
	done
	[ -z "${database:-}" ] || psql -q "$NOVA_TEST_POSTGRES" -c "DROP DATABASE IF EXISTS $database" || true
	exec 8>&- # ends the servers
	[ -z "${servers:-}" ] || wait "$servers" || true
	rm -rf "$dir"
}
trap end EXIT
trap 'exit 130' INT TERM
gone() { ! kill -0 "$1" 2>/dev/null; }
until_() { # SECONDS COMMAND...
	local limit=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $limit ] || return 1
		sleep 0.1
	done
}

# launch NAME READY COMMAND... writes the script run/NAME, which starts the
# command in the background and waits for READY, and runs it. Whoever kills the
# process can run the script again.
launch() {
	local name=$1 ready=$2
	shift 2
	cat >"$dir/run/$name" <<-S
		#!/bin/bash
		: >"$dir/run/$name.err"
		$(printf '%q ' "$@") >>"$dir/run/$name.out" 2>"$dir/run/$name.err" 8>&- &
		echo \$! >"$dir/run/$name.pid"
		for _ in \$(seq 300); do
			$ready >/dev/null 2>&1 && exit 0
			sleep 0.1
		done
		cat "$dir/run/$name.err" >&2
		tail -n 5 "$dir/run/$name.out" >&2
		exit 1
	S
	chmod +x "$dir/run/$name"
	"$dir/run/$name" || die "$name does not start"
}

echo "== servers"
if [ -z "${NOVA_TEST_POSTGRES:-}" ] || [ -z "${NOVA_TEST_REDIS:-}" ] || [ -z "${NOVA_TEST_KAFKA:-}" ]; then
	mkfifo "$dir/life" # the servers end when nobody holds it
	go build -o "$dir/servers" ./test/servers/cmd
	"$dir/servers" -env "$dir/env" <"$dir/life" &
	servers=$!
	exec 8>"$dir/life"
	until_ 120 test -s "$dir/env" || die "the servers do not start"
	. "$dir/env"
fi
psql -q "$NOVA_TEST_POSTGRES" -c "CREATE DATABASE nova_split_$$"
database=nova_split_$$

echo "== certificates, tables, topics"
"$nova" certs --dir "$dir/certs" init >/dev/null
"$nova" certs --dir "$dir/certs" issue --services auth,user,messaging,notification,media >/dev/null
NOVA_SEAL=$(head -c 32 /dev/urandom | base64)
NOVA_DATABASE=$(sed -E "s#(://[^/]*)/[^?]*#\1/$database#" <<<"$NOVA_TEST_POSTGRES")
export NOVA_SEAL NOVA_DATABASE NOVA_REDIS=$NOVA_TEST_REDIS NOVA_KAFKA=$NOVA_TEST_KAFKA NOVA_PREFIX=split-$$
"$nova" migrate up --data-dir "$dir/data/migrate" >/dev/null
export NOVA_RPC_TRUSTED=$dir/certs/trusted.pem NOVA_TRUSTED_PROXIES=127.0.0.1/32

# Ports that are free at this moment: two for the sides, one for Prometheus, two
# for each process and one more for auth, which others call.
read -ra ports < <(node -e '
const all = Array.from({ length: 16 }, () => require("net").createServer());
Promise.all(all.map((s) => new Promise((done) => s.listen(0, "127.0.0.1", () => done("127.0.0.1:" + s.address().port))))).then((list) => {
  console.log(list.join(" "));
  all.forEach((s) => s.close());
});')
one=${ports[0]} two=${ports[1]} prometheus=${ports[2]} grpc=${ports[3]}
export NOVA_ORIGINS=http://$one,http://$two
names=(auth user messaging1 messaging2 notification media)
public() { echo "${ports[4 + 2 * $1]}"; }
admin() { echo "${ports[5 + 2 * $1]}"; }

echo "== five services, messaging twice"
for i in "${!names[@]}"; do
	name=${names[i]} service=${names[i]%[0-9]}
	calls=(--rpc "auth=$grpc")
	[ "$service" != auth ] || calls=(--listen-grpc "$grpc")
	launch "$name" "grep -q '^ready ' $dir/run/$name.err" "$nova" serve --services "$service" --data-dir "$dir/data/$name" --log-dir "$dir/log/$name" \
		--listen-public "$(public "$i")" --listen-admin "$(admin "$i")" --rpc-identity "$dir/certs/$service.pem" "${calls[@]}"
done

echo "== nginx on two sides"
# side NAME ADDRESS FIRST SECOND prefers the first messaging node, and goes to the
# second while that is away.
side() {
	mkdir -p "$dir/$1"
	cp -r deploy/nginx/nova "$dir/$1/"
	sed -E "s/10\.0\.0\.21:8080/$(public 0)/; s/10\.0\.0\.31:8080/$(public 1)/; s/10\.0\.0\.51:8080/$(public 4)/; s/10\.0\.0\.61:8080/$(public 5)/
		s/10\.0\.0\.41:8080/$3/; s/10\.0\.0\.42:8080([^;]*);/$4\1 backup;/; /10\.0\.0\./d; /least_conn/d; /ssl_certificate/d
		s/listen 443 ssl;/listen $2;/; s/server_name .*;/server_name _;/" deploy/nginx/services.conf >"$dir/$1/services.conf"
	{
		echo "daemon off; pid $dir/$1/pid; events {} http { access_log off;"
		for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $dir/$1/$kind;"; done
		echo "include $dir/$1/services.conf; }"
	} >"$dir/$1/nginx.conf"
	launch "$1" "curl -fsS http://$2/healthz" nginx -p "$dir/$1/" -c "$dir/$1/nginx.conf" -e stderr
}
chmod 755 "$dir" # nginx's workers give up their rights
side side1 "$one" "$(public 2)" "$(public 3)"
side side2 "$two" "$(public 3)" "$(public 2)"

echo "== Prometheus"
cp -r deploy/prometheus "$dir/"
targets=$(for i in "${!names[@]}"; do printf '"%s", ' "$(admin "$i")"; done)
sed -i "s/\"127.0.0.1:8081\"/$targets/" "$dir/prometheus/prometheus.yml"
launch prometheus "curl -fsS http://$prometheus/-/ready" prometheus --config.file="$dir/prometheus/prometheus.yml" --storage.tsdb.path="$dir/tsdb" --web.listen-address="$prometheus"

echo "   web client: http://$one/ and http://$two/   Prometheus: http://$prometheus/   log lines: $dir/log"
if [ "${1:-}" = --stay ]; then
	echo "Ctrl-D ends it all."
	cat >/dev/null
	exit
fi

echo "== two browsers on different nodes; one node is killed and comes back"
NOVA_URL=http://$one NOVA_URL_TWO=http://$two NOVA_CHROMIUM=${NOVA_CHROMIUM:-$(command -v chromium)} NOVA_SCREENSHOTS=${NOVA_SCREENSHOTS:-$dir/screenshots} \
	NOVA_KILL_CMD="kill -KILL \$(cat $dir/run/messaging1.pid)" NOVA_START_CMD=$dir/run/messaging1 node --test client/test/split/

echo "== nova audit"
admins=$(for i in "${!names[@]}"; do printf 'http://%s,' "$(admin "$i")"; done)
"$nova" audit --public "http://$one" --admin "${admins%,}" --prometheus "http://$prometheus" --log-dir "$dir/log" \
	--restart-cmd "kill -TERM \$(cat $dir/run/messaging1.pid); while kill -0 \$(cat $dir/run/messaging1.pid) 2>/dev/null; do sleep 0.1; done; exec $dir/run/messaging1" \
	--only 1,2,5,6,9
