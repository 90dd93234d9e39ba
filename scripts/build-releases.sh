#!/usr/bin/env bash
# The binary as the next minor version and the one after it would call themselves, into target/tools/releases, for the
# tests of upgrades. Only the last crate is compiled again. What is up to date is kept.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
releases=$PWD/target/tools/releases
mkdir -p "$releases"
IFS=. read -r major minor _ < <(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
cargo=${CARGO:-cargo}
$cargo build --workspace --bin emet
for ahead in 1 2; do
  version=$major.$((minor + ahead)).0
  [[ $releases/emet-$version -nt $target/debug/emet ]] && continue
  EMET_RELEASE=$version $cargo build --workspace --bin emet
  cp "$target/debug/emet" "$releases/emet-$version"
  rebuilt=1
done
# Leaves the binary as it was found. Copies are made newer than it, so that they count as up to date.
if [[ -n ${rebuilt:-} ]]; then
  $cargo build --workspace --bin emet
  touch "$releases"/*
fi
