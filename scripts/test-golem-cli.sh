#!/usr/bin/env bash
# Drives an unmodified `golem-cli` of the 1.1 line through its component and worker commands against
# a real `emet server`, in text and JSON. The client is built on first use (scripts/setup-golem-cli.sh),
# which takes long: so this is not part of the tests that run by themselves.
#
# Usage: scripts/test-golem-cli.sh [EMET]; GOLEM_CLI=path of a built client
set -euo pipefail
cd "$(dirname "$0")/.."
emet=$(realpath "${1:-target/debug/emet}")
cli=${GOLEM_CLI:-}
if [[ -z $cli ]]; then
  scripts/setup-golem-cli.sh
  cli=$PWD/target/golem-cli/bin/golem-cli
fi

work=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
RUST_LOG=warn "$emet" server --data-dir "$work/data" --listen "127.0.0.1:$port" 2>"$work/log" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 600); do
  curl --silent --fail "$url/healthcheck" >/dev/null && break
  sleep 0.1
done

export GOLEM_CONFIG_DIR=$work/config
mkdir -p "$GOLEM_CONFIG_DIR"
cat >"$GOLEM_CONFIG_DIR/config.json" <<EOF
{"profiles":{"default":{"Golem":{"url":"$url/","worker_url":null,"allow_insecure":false,
  "config":{"default_format":"text"}}}},"active_profile":"default"}
EOF

guests=tests/guests/prebuilt
failed=0
# Runs a command, which must succeed and print something.
golem() {
  local expected=$1
  shift
  if ! "$cli" "$@" >"$work/out" 2>"$work/err"; then
    echo "FAILED  golem-cli $*"
    sed 's/^/        /' "$work/out" "$work/err"
    failed=$((failed + 1))
    return 0
  fi
  if [[ -n $expected ]] && ! grep -qi -- "$expected" "$work/out"; then
    echo "FAILED  golem-cli $*: '$expected' is not in the output"
    sed 's/^/        /' "$work/out"
    failed=$((failed + 1))
    return 0
  fi
  # The client warns about servers that are newer than itself.
  if grep -qi "older than" "$work/err"; then
    echo "FAILED  golem-cli $*: it takes the server for a newer one"
    failed=$((failed + 1))
    return 0
  fi
  echo "ok      golem-cli $*"
}
# The same in both formats, for commands that change nothing.
both() {
  local expected=$1
  shift
  golem "$expected" --format text "$@"
  golem "$expected" --format json "$@"
}

golem counter component add --component-name counter --non-interactive "$guests/counter.wasm"
golem counter component add --component-name versions --non-interactive "$guests/update-v2.wasm"
both counter component list
both counter component get --component-name counter
golem counter component update --component-name counter --non-interactive "$guests/counter.wasm"
golem counter-1 worker add --component-name counter --worker-name counter-1 --env REGION=eu
both counter-1 worker get --component-name counter --worker-name counter-1
both counter-1 worker list --component-name counter
both counter-1 worker list --component-name counter --filter 'env.REGION = eu' --filter 'status = Idle'
golem 5 worker invoke-and-await --component-name counter --worker-name counter-1 --function 'test:counter/api.{add}' --arg 5
golem 12 --format json worker invoke-and-await --component-name counter --worker-name counter-1 \
  --function 'test:counter/api.{add}' --parameters '[7]' --idempotency-key k1
golem 12 worker invoke-and-await --component-name counter --worker-name counter-1 \
  --function 'test:counter/api.{add}' --parameters '[{"typ":{"type":"U64"},"value":7}]' --idempotency-key k1
golem 9 worker invoke-and-await --component-name counter --function 'test:counter/api.{add}' --arg 9
golem '' worker invoke --component-name counter --worker-name counter-2 --function 'test:counter/api.{slow-add}' --arg 1 --arg 600000
golem '' worker interrupt --component-name counter --worker-name counter-2
both Interrupted worker get --component-name counter --worker-name counter-2
golem '' worker resume --component-name counter --worker-name counter-2
golem '' worker simulated-crash --component-name counter --worker-name counter-2
both counter-1 worker oplog --component-name counter --worker-name counter-1 --from 1
both add worker oplog --component-name counter --worker-name counter-1 --query add
golem f1 worker invoke-and-await --component-name versions --worker-name v --function 'test:update/api.{f1}' --arg 3 --arg 0
golem versions component update --component-name versions --non-interactive "$guests/update-v2.wasm"
golem '' worker update --component-name versions --worker-name v --mode auto --target-version 1
golem '' worker update-many --component-name versions --mode auto --target-version 1
golem '' component try-update-workers --component-name versions --update-mode auto
golem '' component redeploy --component-name counter --non-interactive
golem '' worker delete --component-name counter --worker-name counter-1
golem '' worker delete --component-name counter --worker-name counter-2

# The oplog of a worker with entries that this client does not know.
component=$(curl --silent "$url/v1/components?component-name=versions" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["versionedComponentId"]["componentId"])')
curl --silent --fail --output "$work/revert" --header 'content-type: application/json' \
  --data '{"type":"revertLastInvocations","numberOfInvocations":1}' "$url/v1/components/$component/workers/v/revert"
both no worker oplog --component-name versions --worker-name v --from 1

if ((failed > 0)); then
  echo "$failed commands failed"
  exit 1
fi
echo "all commands of $("$cli" --version) succeeded"
