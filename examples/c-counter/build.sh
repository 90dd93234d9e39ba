#!/bin/bash
# Builds build/counter.wasm. See README.md.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
mkdir -p build
[[ -x build/venv/bin/python ]] || python3 -m venv build/venv
build/venv/bin/python -c 'import ziglang' 2>/dev/null || build/venv/bin/pip install -q ziglang
[[ -x build/node_modules/.bin/jco ]] || npm install --prefix build --silent --no-audit --no-fund @bytecodealliance/jco@1.5.0

build/venv/bin/python -m ziglang cc -target wasm32-wasi -mexec-model=reactor -Oz -s \
  counter.c gen/counter.c gen/counter_component_type.o -o build/core.wasm
# jco's own adapter for the C library's calls is that of WASI 0.2.0.
build/node_modules/.bin/jco new build/core.wasm --wasi-reactor -o build/counter.wasm
ls -l build/counter.wasm
