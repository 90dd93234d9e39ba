#!/usr/bin/env bash
# The main job in one minute: upload a component, invoke it, kill the server in the middle of an
# invocation, start it again, and see that the invocation finished, with no effect lost or doubled.
set -euo pipefail
emet=$(realpath "$1")
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
server=
cleanup() {
  if [[ -n $server ]]; then kill -9 "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ emet %s\n' "$*"; "$emet" "$@"; }

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null || echo 19881)
export EMET_URL=http://127.0.0.1:$port
start() {
  "$emet" server --data-dir "$work/data" --listen "127.0.0.1:$port" >"$work/server.log" 2>&1 &
  server=$!
  for _ in $(seq 600); do
    if curl -sf "$EMET_URL/healthcheck" >/dev/null; then return; fi
    sleep 0.05
  done
  echo "the server did not start:" >&2; cat "$work/server.log" >&2; exit 1
}

say "1. One process, embedded stores, nothing else to install"
echo "\$ emet server --data-dir DIR"
start
echo "ready at $EMET_URL (process $server)"

say "2. Upload a component: a shopping cart, ordinary Rust code without an SDK"
run component add shop:cart "$root/examples/prebuilt/cart.wasm" >"$work/out"; sed -n 1,5p "$work/out"

say "3. Invoke it: the worker is made on first use and keeps its state in memory"
run worker invoke-and-await shop:cart/alice initialize-cart alice
run worker invoke-and-await shop:cart/alice add-item '{product-id: "G1", name: "Golem", price: 11.0, quantity: 2}'

say "4. Start a checkout of 20 slow steps: each appends a line to a file and sleeps 200 ms"
run worker invoke shop:cart/alice checkout-slowly 20 --idempotency-key checkout-1
sleep 1.5

say "5. kill -9 the server in the middle of it"
kill -9 "$server"; wait "$server" 2>/dev/null || true; server=
echo "the server is gone"

say "6. Start it again. Nobody asks for the checkout: it goes on by itself"
start
echo "ready at $EMET_URL (process $server)"

say "7. The same idempotency key waits for the same invocation, and gets its result"
steps=$(run worker invoke-and-await shop:cart/alice checkout-slowly 20 --idempotency-key checkout-1 | tee /dev/stderr | tail -n 1)

say "8. The cart is as it was, and every step happened exactly once"
run worker invoke-and-await shop:cart/alice get-cart-contents
run worker invoke-and-await shop:cart/alice get-steps | sed 's/", /",\n /g' | tee "$work/steps"
lines=$(grep -cE '"[0-9]+ ' "$work/steps")
distinct=$(grep -oE '"[0-9]+ ' "$work/steps" | sort -u | wc -l)
if [[ $steps == 20 && $lines == 20 && $distinct == 20 ]]; then
  say "20 steps asked for, 20 steps done, across a kill -9. That is a durable worker."
else
  say "FAILED: $steps steps answered, $lines steps in the file"; exit 1
fi
