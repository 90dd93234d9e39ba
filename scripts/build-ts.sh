#!/bin/bash
# build-ts.sh NAME: builds the TypeScript component in the current folder: src/NAME.ts and wit/ with a world NAME give
# build/NAME.wasm. Called by `npm run build` in the examples.
set -euo pipefail
root=$(dirname "$(dirname "$(realpath "$0")")")
name=$1
rm -rf build types
mkdir -p build/wit
cp wit/*.wit build/wit/
cp -r "$root/wit/deps" build/wit/deps
if [[ -d wit/deps ]]; then cp -r wit/deps/. build/wit/deps/; fi
bin=node_modules/.bin
"$bin/jco" types build/wit -n "$name" -o types >/dev/null
# jco wraps each interface's functions in a namespace; imports by interface name want them at the top level.
sed -i -E '1{/^export namespace/d}; /^  export \{ [A-Za-z]+ \};$/d; 0,/^\}$/{/^\}$/d}' types/interfaces/*.d.ts
"$bin/tsc" --noEmit
"$bin/esbuild" "src/$name.ts" --bundle --format=esm --target=es2022 '--external:golem:*' '--external:wasi:*' '--external:shop:*' \
  --outfile="build/$name.js" --log-level=warning
"$bin/jco" componentize "build/$name.js" --wit build/wit -n "$name" -o "build/$name.wasm"
ls -l "build/$name.wasm"
