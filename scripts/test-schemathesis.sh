#!/usr/bin/env bash
# Fuzzes a real `emet server` against the OpenAPI document that it serves: every status is a
# documented one, and every body is of the documented schema. Schemathesis is installed into
# target/schemathesis (PyPI) on first use. Arguments go to it, such as --max-examples 500.
#
# Usage: scripts/test-schemathesis.sh [EMET] [OPTION]...
set -euo pipefail
cd "$(dirname "$0")/.."
emet=$(realpath "${1:-target/debug/emet}")
shift || true
venv=$PWD/target/schemathesis
if [[ ! -x $venv/bin/schemathesis ]]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet 'schemathesis>=4,<5'
fi

work=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
RUST_LOG=warn "$emet" server --data-dir "$work/data" --listen "127.0.0.1:$port" 2>"$work/log" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 600); do
  curl --silent --fail "$url/healthcheck" >"$work/health" && break
  sleep 0.1
done
curl --silent --fail --output "$work/component" --form name=counter --form component=@tests/guests/prebuilt/counter.wasm "$url/v1/components"
id=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["versionedComponentId"]["componentId"])' "$work/component")

# Requests reach something: a component that exists, and few enough workers that some do, too.
cat >"$work/schemathesis.toml" <<EOF
[parameters]
"path.component_id" = "$id"
"path.worker_name" = ["a", "b", "c-1"]
"path.version" = 0
"query.function" = ["test:counter/api.{add}", "test:counter/api.{get}", "world-add", "nonsense"]
EOF
checks=status_code_conformance,content_type_conformance,response_schema_conformance
run=("$venv/bin/schemathesis" --config-file "$work/schemathesis.toml")
# It leaves notes where it runs. The stream is no request with an answer.
cd "$work"
"${run[@]}" run "$url/specs" --url "$url" --checks "$checks" --exclude-operation-id workerConnect \
  --phases examples,coverage,fuzzing --continue-on-failure --request-timeout 30 --warnings off "$@"
# Whatever comes first, the server must not have failed inside.
if grep -q "panicked" "$work/log"; then
  cat "$work/log"
  exit 1
fi
kill -0 "$server"
