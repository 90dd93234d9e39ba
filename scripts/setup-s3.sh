#!/usr/bin/env bash
# Puts versitygw, an S3 server over a directory, into target/tools, for tests. Takes one to four
# minutes and some 300 MB in Go's caches. Does nothing if it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
version=v1.8.0
tools=$PWD/target/tools
for server in "$tools/bin/versitygw" "$(command -v versitygw || true)"; do
  if [[ -x $server ]] && "$server" --version >/dev/null 2>&1; then exit 0; fi
done
PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || { echo "go is missing: it builds versitygw, the S3 server of the tests" >&2; exit 1; }
mkdir -p "$tools/bin"
GOBIN=$tools/bin go install "github.com/versity/versitygw/cmd/versitygw@$version"
"$tools/bin/versitygw" --version | sed -n 1p
