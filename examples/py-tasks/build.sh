#!/bin/bash
# Builds build/tasks.wasm. See README.md.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
mkdir -p build
[[ -x build/venv/bin/python ]] || python3 -m venv build/venv
[[ -x build/venv/bin/componentize-py ]] || build/venv/bin/pip install -q componentize-py==0.25.1

build/venv/bin/componentize-py -d wit -w tasks componentize app -o build/tasks.wasm
ls -l build/tasks.wasm
