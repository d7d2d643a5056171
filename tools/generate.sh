#!/bin/sh
# Writes every *.pb.go anew from the .proto files. It needs Go and nothing else;
# the versions of what it runs stand in tools/go.mod. CI runs it and then
# compares: git diff --exit-code.
set -eu
cd "$(dirname "$0")/.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -C tools -o "$bin/generate" ./generate
find internal -name '*.proto' | LC_ALL=C sort | xargs "$bin/generate"
