#!/bin/bash
# build-guests.sh [OUT]: builds the Rust guests of tests/guests and examples into OUT (default: target/guests).
# The result does not depend on where the repository is, so it can be compared byte by byte (check-prebuilt.sh).
set -euo pipefail
root=$(dirname "$(dirname "$(realpath "$0")")")
out=$(realpath -m "${1:-$root/target/guests}")
prefix=$(realpath -m "${EMET_GUEST_TOOLCHAIN:-$root/target/guest-toolchain}")

"$root/scripts/setup-guests.sh" >&2
"$root/scripts/wit-deps.sh" "$root/target/guest-wit"
. "$prefix/env.sh"
export CARGO_TARGET_DIR=$root/target/guest-build
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="$EMET_GUEST_RUSTFLAGS --remap-path-prefix=$root=/emet"
mkdir -p "$out"

build() { # MANIFEST CARGO-ARGS...
  cargo build -q --locked --release --target wasm32-wasip1 --manifest-path "$root/$1" "${@:2}"
}
collect() { # CARGO-FILE NAME
  install -m 644 "$CARGO_TARGET_DIR/wasm32-wasip1/release/$1" "$out/$2.wasm"
}

build tests/guests/Cargo.toml --examples
for source in "$root"/tests/guests/src/*.rs; do
  name=$(basename "$source" .rs)
  [[ $name == lib ]] || collect "examples/${name//-/_}.wasm" "$name"
done

"$root/scripts/compose-guest.sh" "$out/stub-caller.wasm" "$out/counter-stub.wasm" "$out/composed-caller.wasm"

# Names in OUT that begin with example- belong to examples/prebuilt.
build examples/rust-cart/Cargo.toml
collect rust_cart.wasm example-cart
build examples/rust-snippets/Cargo.toml
collect rust_snippets.wasm example-snippets
build examples/rust-saga/Cargo.toml
collect rust_saga.wasm example-saga
