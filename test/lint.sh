#!/bin/bash
# Runs the linters. golangci-lint is built from its module at a fixed version
# and kept in the user's cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."
version=v2.15.0
bin=${XDG_CACHE_HOME:-$HOME/.cache}/nova/golangci-lint-$version
if [ ! -x "$bin" ]; then
	echo "building golangci-lint $version"
	mkdir -p "$(dirname "$bin")"
	tmp=$(mktemp -d)
	GOBIN=$tmp GOFLAGS= go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
	mv "$tmp/golangci-lint" "$bin"
	rmdir "$tmp"
fi
"$bin" run ./...
