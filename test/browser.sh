#!/bin/bash
# The web client in Chromium against the real server: two desktop windows and a
# phone, with a restart of the server while they are open.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x bin/nova ] || go build -trimpath -o bin/nova ./cmd/nova
[ -d client/node_modules ] || (cd client && npm ci --no-audit --no-fund --loglevel=error)
export dir=$(mktemp -d)
stop() {
	[ ! -f "$dir/pid" ] || kill "$(cat "$dir/pid")" 2>/dev/null || true
	for _ in $(seq 100); do
		[ -f "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
		sleep 0.1
	done
}
trap 'stop; rm -rf "$dir"' EXIT

# The ports are free ones of this moment, and the same after the restart.
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null || node -e 's = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
public=$(port) admin=$(port)
cat > "$dir/start" <<S
#!/bin/bash
"$PWD/bin/nova" serve --data-dir "$dir/data" --log-dir "$dir/log" --listen-public 127.0.0.1:$public --listen-admin 127.0.0.1:$admin >"$dir/out" 2>"$dir/err" &
echo \$! > "$dir/pid"
for _ in \$(seq 200); do
	grep -q '^ready ' "$dir/err" && exit 0
	sleep 0.05
done
cat "$dir/err" >&2
exit 1
S
cat > "$dir/restart" <<S
#!/bin/bash
pid=\$(cat "$dir/pid")
kill -TERM \$pid
while kill -0 \$pid 2>/dev/null; do sleep 0.05; done
exec "$dir/start"
S
chmod +x "$dir/start" "$dir/restart"
"$dir/start"
NOVA_URL=http://127.0.0.1:$public NOVA_RESTART_CMD="$dir/restart" NOVA_CHROMIUM=${NOVA_CHROMIUM:-$(command -v chromium)} \
	NOVA_SCREENSHOTS=${NOVA_SCREENSHOTS:-$dir/screenshots} node --test client/test/e2e/
