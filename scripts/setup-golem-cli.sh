#!/usr/bin/env bash
# Builds a published `golem-cli` of the 1.1 line into target/golem-cli, with the dependencies its
# authors locked. Those do not compile with new compilers, so Debian's rustc-web 1.85 is unpacked
# beside it (apt-get download and dpkg -x: nothing is installed on the machine).
# Hundreds of crates: half an hour and more on two cores, once.
#
# Usage: scripts/setup-golem-cli.sh; GOLEM_CLI_VERSION=1.1.0, GOLEM_RUSTC=an older rustc
set -euo pipefail
cd "$(dirname "$0")/.."
version=${GOLEM_CLI_VERSION:-1.1.0}
root=$PWD/target/golem-cli
[[ ! -x $root/bin/golem-cli ]] || exit 0
for tool in protoc pkg-config; do
  command -v "$tool" >/dev/null || { echo "golem-cli needs $tool: apt-get install protobuf-compiler pkg-config libssl-dev" >&2; exit 1; }
done

unpack_compiler() {
  local full deb=$root/deb usr=$root/rust/usr llvm
  full=$(apt-cache madison rustc-web | awk '$3 ~ /^1\.85\./ && !found {print $3; found = 1}')
  [[ -n $full ]] || { echo "setup-golem-cli: apt has no rustc-web 1.85 (apt-get update?); name an older rustc in GOLEM_RUSTC" >&2; exit 1; }
  mkdir -p "$deb" "$root/rust/bin"
  (cd "$deb" && apt-get download -q "rustc-web=$full" "libstd-rust-web-1.85=$full" "libstd-rust-web-dev=$full" >/dev/null)
  llvm=$(dpkg -I "$deb"/libstd-rust-web-1.85_*.deb | grep -oE 'libllvm[0-9]+' | sort -u)
  (cd "$deb" && apt-get download -q "$llvm" >/dev/null)
  for package in "$deb"/*.deb; do dpkg -x "$package" "$root/rust"; done
  rm -rf "$deb"
  cat >"$root/rust/bin/rustc" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH=$usr/lib/x86_64-linux-gnu:$usr/lib/llvm-${llvm#libllvm}/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec $usr/bin/rustc "\$@"
WRAPPER
  chmod +x "$root/rust/bin/rustc"
}

if [[ -z ${GOLEM_RUSTC:-} ]]; then
  GOLEM_RUSTC=$root/rust/bin/rustc
  "$GOLEM_RUSTC" --version >/dev/null 2>&1 || unpack_compiler
fi
# One of its crates asks cargo where the formats of others are, and is shown those of newer versions,
# which do not fit: the compiler of formats is told to look into the locked versions first.
mkdir -p "$root/tools"
cat >"$root/tools/protoc" <<WRAPPER
#!/bin/sh
case "\$*" in *proto/golem/*)
  for formats in "\${CARGO_HOME:-\$HOME/.cargo}"/registry/src/*/golem-wasm-*-$version/proto; do
    set -- "-I\$formats" "\$@"
  done
esac
exec $(command -v protoc) "\$@"
WRAPPER
chmod +x "$root/tools/protoc"

echo "golem-cli $version with $("$GOLEM_RUSTC" --version): this takes long"
PROTOC=$root/tools/protoc RUSTC=$GOLEM_RUSTC CARGO_TARGET_DIR=$root/build CARGO_PROFILE_DEV_DEBUG=0 \
  cargo install golem-cli --version "$version" --locked --debug --root "$root"
rm -rf "$root/build"
