#!/bin/bash
# wit-deps.sh [DIR]: makes DIR (default: target/guest-wit) a WIT folder with wit/deps and all of standard WASI 0.2.0.
#
# The WASI texts are those that ship with the wasmtime crates of the main workspace's lock file, taken back to 0.2.0:
# a component built against 0.2.0 runs on every 0.2.x host, the reverse does not hold.
set -euo pipefail
root=$(dirname "$(dirname "$(realpath "$0")")")
out=$(realpath -m "${1:-$root/target/guest-wit}")

crate_dir() { # NAME: folder of the crate's sources
  cargo metadata --format-version 1 --locked --manifest-path "$root/Cargo.toml" |
    grep -oE "\"[^\"]*/$1-[0-9.]+/Cargo\.toml\"" | sed -n 1p | xargs dirname
}
http=$(crate_dir wasmtime-wasi-http)
[[ -d $http/wit/deps ]] || { echo "wit-deps: no WIT in $http" >&2; exit 1; }

rm -rf "$out"
mkdir -p "$out/deps"
cp -r "$root/wit/deps/." "$out/deps/"
rm -rf "$out"/deps/wasi-io-0.2.0 "$out"/deps/wasi-clocks-0.2.0
for f in "$http"/wit/deps/*.wit; do
  name=$(basename "$f" .wit)
  mkdir -p "$out/deps/wasi-$name-0.2.0"
  # What came after 0.2.0 is hidden behind a feature that nobody switches on, except for the alias field-name, which
  # older functions are spelled with today.
  sed -E '/@since\(version = 0\.2\.[1-9][0-9]*\)/{N; s/^[^\n]*\n(.*type field-name )/\1/}
          s/@since\(version = 0\.2\.[1-9][0-9]*\)/@unstable(feature = later)/
          s/(wasi:[a-z]+(\/[a-z-]+)?)@0\.2\.[0-9]+/\1@0.2.0/' "$f" >"$out/deps/wasi-$name-0.2.0/$name.wit"
done
echo '// Made by scripts/wit-deps.sh.
package emet:guest-wit;' >"$out/root.wit"
