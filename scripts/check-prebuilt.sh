#!/bin/bash
# Builds the guests and compares them with the checked-in ones (tests/guests/prebuilt, examples/prebuilt), byte by byte.
# With --update, replaces the checked-in ones instead.
#
# A difference with unchanged sources means another compiler: it is Debian's, which moves with security updates.
set -euo pipefail
root=$(dirname "$(dirname "$(realpath "$0")")")
cd "$root"
scripts/build-guests.sh target/guests
status=0
for built in target/guests/*.wasm; do
  name=$(basename "$built")
  if [[ $name == example-* ]]; then checked_in=examples/prebuilt/${name#example-}; else checked_in=tests/guests/prebuilt/$name; fi
  if [[ ${1:-} == --update ]]; then
    install -D -m 644 "$built" "$checked_in"
  elif ! cmp "$built" "$checked_in"; then
    status=1
  fi
done
for checked_in in tests/guests/prebuilt/*.wasm examples/prebuilt/*.wasm; do
  name=$(basename "$checked_in")
  [[ $checked_in == examples/* ]] && name=example-$name
  [[ -e target/guests/$name || ! -e $checked_in ]] || { echo "$checked_in has no source" >&2; status=1; }
done
exit $status
