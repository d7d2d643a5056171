#!/bin/bash
# Everything that CI runs. `make test` calls it.
# What this machine cannot run is named at the end; with CI=true nothing may be.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
left=$work/left
behind=
# Closing the pipe ends the servers; so does the death of this shell. A process that
# a failed step left behind may hold it open as well.
end() {
	[ -z "$behind" ] || kill -- -$behind 2>/dev/null || true
	exec 9>&-
	for _ in $(seq 300); do
		kill -0 "${servers:-none}" 2>/dev/null || break
		sleep 0.1
	done
	rm -rf "$work" "${memory:-$work}"
}
trap end EXIT
begin=$SECONDS
step() { printf '\n== %s (%ss)\n' "$1" "$((SECONDS - begin))"; }
can() { ! grep -q "^$1	" "$left"; }

# Behind a step that mostly waits, what mostly computes runs at a lower priority
# and says what it has to say at the end.
start_behind() { # COMMAND
	set -m # a group of its own, so that it can be ended as a whole
	"$@" >"$work/behind" 2>&1 &
	behind=$!
	set +m
	renice -n 10 -g $behind >/dev/null
}
end_behind() {
	local code=0
	wait $behind || code=$?
	behind=
	cat "$work/behind"
	return $code
}

step "what the tests need"
./test/prepare.sh "$left"
export PATH=$PATH:/usr/local/go/bin

# Databases and logs of the tests are in memory where there is plenty. All that
# wait for a disk wait for all others there; what a process leaves when it is
# killed stays in memory as well.
gib() { df --output=avail -B 1G /dev/shm 2>/dev/null | tail -n 1; }
if [ "$(gib || true)" -ge 8 ] 2>/dev/null && [ "$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)" -ge 12 ]; then
	memory=$(mktemp -d -p /dev/shm)
	chmod 755 "$memory" # PostgreSQL has a user of its own
	printf '#!/bin/sh\n' >"$memory/runs"
	chmod +x "$memory/runs"
	! "$memory/runs" || export TMPDIR=$memory
fi

build() {
	step "build"
	go build ./... # the linters vet
	go build -o bin/nova ./cmd/nova # with the flags of everything else, so that nothing is compiled twice
	go build -o "$work/servers" ./test/servers/cmd
}
start_behind build

step "web client"
if can "web client"; then
	(cd client && npm ci --no-audit --no-fund --loglevel=error && npm test && npm run build)
	git diff --exit-code -- client/dist || { echo "client/dist is not what client/src builds: run make generate" >&2; exit 1; }
fi

end_behind
# One PostgreSQL, Redis and Kafka for all that follows; they start meanwhile.
exec 9> >("$work/servers" -env "$work/env" || echo 'echo "the servers do not start" >&2; exit 1' >"$work/env")
servers=$!

step "generated code"
./tools/generate.sh
git diff --exit-code -- '*.pb.go' || { echo "generated code is old: run make generate" >&2; exit 1; }

step "servers"
for _ in $(seq 1200); do
	[ ! -e "$work/env" ] || break
	sleep 0.1
done
. "$work/env"
export NOVA_TEST_LEFT_OUT=$left

race=
can "race detector" && race=-race
# The race detector does not look into SQLite's C in Go: no mistake of ours is
# there, and it is most of what a test computes. The linters vet.
flags=(-vet=off)
[ -z "$race" ] || flags+=(-race -gcflags=modernc.org/sqlite/lib=-race=false)
several() { can PostgreSQL && can Redis && can Kafka; }

checks() {
	step "linters"
	./test/lint.sh
	step "fuzzers"
	./test/fuzz.sh 20s
	step "known vulnerabilities"
	./test/vulnerabilities.sh
}

step "end to end, each service in two processes of its own"
start_behind go build "${flags[@]:1}" ./... # for the tests of the next step
# Its tests mostly wait; with the race detector they compute, and four at a time
# would take each other's time from what has to be answered within a second.
! several || NOVA_E2E=services go test -vet=off -parallel 4 -timeout 12m ./test/e2e
end_behind

step "go test"
go test "${flags[@]}" -shuffle=on -timeout 12m ./...

start_behind checks
step "allocation budgets (the race detector changes them)"
budgets='Alloc|Budget|Pointer'
[ -z "$race" ] || go test -vet=off -run "$budgets" $(grep -rlE "^func Test\w*($budgets)" internal | xargs -n 1 dirname | sort -u | sed 's|^|./|')

step "end to end, smoke tests on PostgreSQL and on two nodes"
smoke='WorkedExample|SurviveARestart|StopLosesNothing|AThousandSends|SessionsEnd|TypingRead|FollowedThroughAllHops|ResumeGoesOn|EveryRefusedSend|Group$'
! several || for deployment in postgres nodes; do NOVA_E2E=$deployment go test -vet=off -run "$smoke" ./test/e2e; done

step "browser"
if can "browser tests" && can "web client"; then
	./test/browser.sh
fi

step "literal checks of the audit, with a real Prometheus"
if can "literal checks"; then
	./test/literal.sh
fi

step "rounds of SIGTERM and SIGKILL, short form"
go run ./test/rounds -nova bin/nova -term 3 -kill 3
! several || go run ./test/rounds -nova bin/nova -deployment services -term 2 -kill 2

step "services apart, two browsers on two nodes"
if several && can nginx && can "browser tests" && can "literal checks"; then
	./test/split.sh
fi

step "one fault of each class on two nodes"
faults=kill-node,rolling-restart,postgres-commit,redis-cut,redis-kafka-down,group-rebalance
! several || go run ./test/campaign -nova bin/nova -short -seed 1 -faults $faults

step "what ran behind"
end_behind

step "done"
if [ -s "$left" ]; then
	echo "Left out on this machine, and how to bring it:"
	sort -u "$left" | sed 's/^/  /'
fi
