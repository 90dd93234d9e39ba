#!/bin/bash
# Compares wit/ with the published texts of the packages that guests of the 1.0 and 1.1 line are written against
# (crate golem-wit), every type and every function. Needs the network; nothing is kept.
set -euo pipefail
root=$(dirname "$(dirname "$(realpath "$0")")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # VERSION: unpacks into $work/VERSION/deps
  mkdir -p "$work/crate-$1/src" "$work/$1/deps"
  : >"$work/crate-$1/src/lib.rs"
  printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\ngolem-wit = "=%s"\n' "$1" \
    >"$work/crate-$1/Cargo.toml"
  (cd "$work/crate-$1" && cargo vendor -q vendor >/dev/null)
  cp -r "$work/crate-$1/vendor/golem-wit/wit/deps/." "$work/$1/deps/"
  # Spellings that today's parser no longer takes; they do not change a type.
  find "$work/$1" -name '*.wit' -exec sed -i -E 's/ -> \(\);/;/; s/([^-])\bfloat(32|64)\b/\1f\2/g' {} +
  printf 'package compare:root;\n' >"$work/$1/root.wit"
}

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/compare-wit}
cargo build -q --manifest-path "$root/scripts/compare-wit/Cargo.toml"
status=0
compare() { # VERSION PACKAGE...
  fetch "$1"
  "$CARGO_TARGET_DIR/debug/compare-wit" "$root/wit" "$work/$1" "${@:2}" || status=1
}
compare 1.0.0 golem:api@0.2.0 golem:rpc@0.1.0
compare 1.1.13 golem:api@0.2.2 golem:api@1.1.5 golem:rpc@0.1.3 golem:durability@1.2.0 \
  wasi:keyvalue@0.1.0 wasi:blobstore wasi:logging wasi:io@0.2.0 wasi:clocks@0.2.0
compare 1.2.0 golem:rpc@0.2.0
exit $status
