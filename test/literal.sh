#!/bin/bash
# The audit's literal checks, as they stand in the promises: a server on its
# default ports, a real Prometheus with the shipped configuration and rules, two
# people who chat, and then each check with its command and PASS or FAIL. Beside
# a literal check that could pass for nothing stands an honest one.
#
# Needs prometheus (2.42 or later), curl and jq, and the ports 8080, 8081, 9090.
set -euo pipefail
cd "$(dirname "$0")/.."
nova=${NOVA:-bin/nova}
[ "$nova" != bin/nova ] || go build -o bin/nova ./cmd/nova

die() { echo "literal: $*" >&2; exit 1; }
for command in prometheus curl jq; do
	command -v "$command" >/dev/null || die "$command is not installed (Debian: apt-get install prometheus curl jq)"
done
for port in 8080 8081 9090; do
	! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || die "port $port is taken: end what listens on 127.0.0.1:$port, this script uses the default ports"
done

dir=$(mktemp -d)
started=()
failed=0
cleanup() {
	for pid in "${started[@]}"; do
		kill -KILL "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
set -m # jobs of their own, so that SIGINT is not ignored in them

# check NAME COMMAND...: PASS if the command, which is shown, succeeds.
check() {
	local name=$1 out
	shift
	if out=$(bash -o pipefail -c "$*" 2>&1); then
		printf 'PASS  %s\n      $ %s\n' "$name" "$*"
	else
		printf 'FAIL  %s\n      $ %s\n' "$name" "$*"
		failed=1
	fi
	[ -z "$out" ] || cut -c1-240 <<<"$out" | sed -n '1,8s/^/      /p'
}

# until SECONDS COMMAND...: waits for the command to succeed.
until_() {
	local end=$((SECONDS + $1))
	shift
	until bash -o pipefail -c "$*" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}

echo "== start"
export logs=$dir/logs
"$nova" serve --data-dir "$dir/data" --log-dir "$logs" >"$dir/out" 2>"$dir/err" &
server=$!
started+=("$server")
until_ 30 "grep -q '^ready public=http://127.0.0.1:8080 admin=http://127.0.0.1:8081' $dir/err" || { cat "$dir/err"; die "the server did not get ready"; }

cp -r deploy/prometheus "$dir/prometheus"
prometheus --config.file="$dir/prometheus/prometheus.yml" --storage.tsdb.path="$dir/tsdb" --web.listen-address=127.0.0.1:9090 >"$dir/prometheus.log" 2>&1 &
started+=($!)
until_ 30 "curl -fsS http://127.0.0.1:9090/-/ready" || { cat "$dir/prometheus.log"; die "Prometheus did not get ready"; }

echo "== two people chat"
api=http://127.0.0.1:8080/api/v1
ask() { curl -sS -X "$1" "$api/$2" -H 'Content-Type: application/json' "${@:3}"; }
join_() { ask POST auth/register -d "{\"username\":\"$1\",\"password\":\"correct horse battery\",\"device_id\":\"laptop\"}"; }
alice=$(join_ alice) bob=$(join_ bob)
proof="Authorization: Bearer $(jq -r .access_token <<<"$alice")"
conversation=$(ask POST conversations -H "$proof" -d "{\"kind\":\"direct\",\"member_ids\":[\"$(jq -r .user.id <<<"$bob")\"]}" | jq -r .id)
ask POST messages -H "$proof" -d "{\"conversation_id\":\"$conversation\",\"client_msg_id\":\"c-1\",\"body\":\"my password is secret\"}" | jq -e '.seq == 1' >/dev/null || die "a message over REST was not taken"
# What goes wrong is logged too: the search of the log folder must meet it.
for body in '{"username":"alice","password":"not the password"}' '{"username":"nobody","password":"token key"}' '{"password":' '{"credential":"secret"}'; do
	ask POST auth/login -d "$body" >/dev/null
done
ask POST auth/refresh -d '{"refresh_token":"never~given"}' >/dev/null
ask GET users/me -H 'Authorization: Bearer a.secret.token' >/dev/null
ask GET 'users?q=password' -H "$proof" >/dev/null
ask POST auth/ticket -H "$proof" >/dev/null
"$nova" load --pairs 2 --rate 20 --duration 25s >"$dir/load" 2>&1 || { cat "$dir/load"; die "the load run was not clean"; }
tail -n +2 "$dir/load" | grep -E 'sent |due ' || true

names3="global_message_rate_per_second db_connections_active db_connections_idle queue_consumer_rate_per_second queue_processing_lag_messages"
names6="message_e2e_latency_seconds ws_connection_establish_time_seconds message_delivery_failure_rate cache_hit_rate active_connections"
until_ 30 "for n in $names3 $names6; do curl -fsS \"localhost:9090/api/v1/query?query=\$n\" | jq -e '.data.result | length > 0' || exit 1; done" || true # what is missing shows below

echo "== 2: labels are bounded"
check "literal" 'n=$(curl -s localhost:9090/api/v1/label/__name__/values | wc -l); echo "$n lines"; [ "$n" -lt 5000 ]'
check "honest: number of names" 'n=$(curl -fsS localhost:9090/api/v1/label/__name__/values | jq ".data | length"); echo "$n names"; [ "$n" -gt 0 ] && [ "$n" -lt 5000 ]'
check "honest: number of series in all" 'n=$(curl -fsS localhost:9090/api/v1/query --data-urlencode "query=count({__name__=~\".+\"})" | jq -r ".data.result[0].value[1]"); echo "$n series"; [ "$n" -gt 0 ] && [ "$n" -lt 5000 ]'

value='jq -er ".data.result[0] | if . then .metric.__name__ + \" \" + .value[1] else false end"'
echo "== 3: the metrics that the alerts use exist"
for name in $names3; do
	check "$name" "curl -fsS 'localhost:9090/api/v1/query?query=$name' | $value"
done
check "honest: messages moved it" "curl -fsS 'localhost:9090/api/v1/query?query=max_over_time(global_message_rate_per_second%5B2m%5D)' | jq -e '.data.result[0].value[1] | tonumber > 0'"

echo "== 6: the service levels are measured"
for name in $names6; do
	check "$name" "curl -fsS 'localhost:9090/api/v1/query?query=$name' | $value"
done
check "honest: the latency is a number of this run" "curl -fsS 'localhost:9090/api/v1/query?query=message_e2e_latency_seconds' | jq -e '[.data.result[].value[1] | tonumber | select(. > 0 and . < 10)] | length >= 4'"

echo "== 5: one correlation ID"
check "literal" 'curl -s -H "X-Correlation-ID: test-123" http://localhost:8080/api/v1/messages >/dev/null; sleep 0.2; grep test-123 $logs/messaging.log'
sleep 1 # the first lines of a second are always kept
ask POST messages -H "$proof" -H 'X-Correlation-ID: test-124' -d "{\"conversation_id\":\"$conversation\",\"client_msg_id\":\"c-2\",\"body\":\"hi\"}" >/dev/null
check "honest: the message itself" 'grep "message committed" $logs/messaging.log | grep test-124'
ask POST auth/register -H 'X-Correlation-ID: test-125' -d '{"username":"carol","password":"correct horse battery"}' >/dev/null
check "honest: a registration, by way of its event" 'sleep 0.5; grep test-125 $logs/auth.log && grep test-125 $logs/user.log'

echo "== nova audit, which judges the same from outside"
check "audit" "$nova audit --prometheus http://127.0.0.1:9090 --log-dir $logs --only 2,5,6,9 2>/dev/null | tee $dir/audit | sed '/^\$/q'; exit \${PIPESTATUS[0]}"
! grep -q '^  BROKEN' "$dir/audit" || grep '^  BROKEN' "$dir/audit"

echo "== 1: Ctrl+C drains"
kill -INT "$server"
code=0
wait "$server" || code=$?
check "literal: the line" "grep -h 'Shutting down gracefully...' $logs/nova.log"
check "honest: exit code $code" "[ $code = 0 ]"
check "honest: the last line is the ledger, balanced, nothing left" "tail -n 1 $dir/out | tee /dev/stderr | jq -e '.msg == \"shutdown ledger\" and .accepted > 0 and .accepted == .committed + .rejected + .unknown and .outbox_left == 0 and .goroutines_left == 0' >/dev/null"

echo "== 4: no secret in the logs, errors and shutdown included"
check "there is something to search: all services logged" 'wc -l $logs/auth.log $logs/user.log $logs/messaging.log $logs/nova.log && [ -s $logs/auth.log ] && [ -s $logs/user.log ] && [ -s $logs/messaging.log ]'
check "literal" '! grep -r "password\|secret\|token\|key\|credential" $logs'
check "literal, as an extended expression" '! grep -rE "password|secret|token|key|credential" $logs'
# Identifiers are in upper case and may spell anything.
check "stricter: in any case, but for identifiers" '! cat $logs/*.log | sed -E "s/[0-9A-HJKMNP-TV-Z]{26}/ID/g" | grep -iE "password|secret|token|key|credential"'
{
	printf '%s\n' 'correct horse' 'not the pass' 'never~given' 'my password is'
	jq -r '.access_token, .refresh_token' <<<"$alice$bob"
} >"$dir/typed"
check "honest: nothing that was typed, said or given is in there" "[ \$(wc -l <$dir/typed) = 8 ] && ! grep -rFf $dir/typed $logs $dir/out $dir/err"

if [ $failed = 0 ]; then
	echo "== every check passed"
else
	echo "== something FAILED"
fi
exit $failed
