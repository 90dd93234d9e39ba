#!/bin/bash
# Prepares the toolchain that builds Rust guests (target wasm32-wasip1, component output, WASI 0.2.0) into
# $EMET_GUEST_TOOLCHAIN, by default target/guest-toolchain. A second call is a no-op.
#
# It needs apt-get, dpkg, gcc and rustup's cargo, and installs nothing: packages are unpacked under the prefix, so
# the compiler of the main workspace stays as it is. Debian's rustc-web is used because std for wasm has to be built
# from the sources of exactly the compiler's version, and Debian packages both.
set -euo pipefail
root=$(dirname "$(dirname "$(realpath "$0")")")
prefix=$(realpath -m "${EMET_GUEST_TOOLCHAIN:-$root/target/guest-toolchain}")
# Part of the stamp, so that a change of this script rebuilds the prefix.
recipe=$(sha256sum "$0" | cut -c1-12)
stamp=$prefix/.complete-$recipe
if [[ -e $stamp ]]; then
  echo "guest toolchain: up to date in $prefix"
  exit 0
fi
for tool in apt-get apt-cache dpkg cargo gcc; do
  command -v "$tool" >/dev/null || { echo "setup-guests: $tool is missing" >&2; exit 1; }
done

rm -rf "$prefix"
mkdir -p "$prefix/deb" "$prefix/bin"
usr=$prefix/usr

# --- compiler, linker, C library -------------------------------------------------------------------------------
cd "$prefix/deb"
full=$(apt-cache madison rustc-web | awk '{print $3; exit}')
[[ -n $full ]] || { echo "setup-guests: no rustc-web in apt; run apt-get update" >&2; exit 1; }
upstream=${full%%+*}
series=${upstream%.*}
get() { apt-get download -q "$@" >/dev/null 2>&1 || { echo "setup-guests: cannot download $*" >&2; exit 1; }; }
get "rustc-web=$full" "libstd-rust-web-$series=$full" "libstd-rust-web-dev=$full" "rust-web-src=$full" wasi-libc
llvm=$(dpkg -I "libstd-rust-web-${series}"_*.deb | grep -oE 'libllvm[0-9]+' | sed -n 1p)
n=${llvm#libllvm}
get "$llvm" "lld-$n"
for f in *.deb; do dpkg -x "$f" "$prefix"; done
cd "$prefix"
rm -rf deb

# Both programs are linked against libraries that are only under the prefix.
libs=$usr/lib/x86_64-linux-gnu:$usr/lib/llvm-$n/lib
for p in "rustc $usr/bin/rustc" "wasm-ld $usr/lib/llvm-$n/bin/wasm-ld"; do
  read -r name real <<<"$p"
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec %s "$@"\n' "$libs" "$real" >"bin/$name"
done
chmod +x bin/*
target=$usr/lib/rustlib/wasm32-wasip1/lib
mkdir -p "$target/self-contained"
cp "$usr"/lib/wasm32-wasi/*.a "$usr"/lib/wasm32-wasi/*.o "$target/self-contained/"

# --- the preview1 adapter whose imports are wasi:*@0.2.0 ---------------------------------------------------------
mkdir -p build/src
: >build/src/lib.rs
cat >build/Cargo.toml <<'TOML'
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
wasi-preview1-component-adapter-provider = "=24.0.0"
TOML
adapter=$(cd build && cargo metadata -q --format-version 1 |
  grep -oE '[^"]*/wasi-preview1-component-adapter-provider-24\.0\.0/Cargo\.toml' | sed -n 1p)
cp "$(dirname "$adapter")/artefacts/wasi_snapshot_preview1.reactor.wasm" adapter.wasm

# --- std, once -----------------------------------------------------------------------------------------------------
# embed-bitcode makes `lto = true` possible in guests; the remapping keeps this folder's name out of panic messages.
cat >build/Cargo.toml <<'TOML'
[package]
name = "sysroot"
version = "0.0.0"
edition = "2021"
[workspace]
[profile.release]
opt-level = "s"
panic = "abort"
codegen-units = 1
TOML
echo '#![no_std]' >build/src/lib.rs
rm -f build/Cargo.lock
(
  cd build
  RUSTC=$prefix/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$prefix/build/target \
    RUSTFLAGS="-C embed-bitcode=yes --remap-path-prefix=$prefix=/toolchain --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    cargo build -q --release --target wasm32-wasip1 -Zbuild-std=std,panic_abort
)
cp build/target/wasm32-wasip1/release/deps/*.rlib "$target/"
rm -f "$target"/libsysroot-*

# std calls one function that Debian's wasi-libc lacks (behind fs::canonicalize): answer ENOTSUP.
cat >build/realpath.rs <<'RS'
#![no_std]
#![crate_type = "rlib"]
#![feature(thread_local)]
unsafe extern "C" {
    #[thread_local]
    static mut errno: i32;
}
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realpath(_path: *const u8, _out: *mut u8) -> *mut u8 {
    unsafe { errno = 58 };
    core::ptr::null_mut()
}
RS
RUSTC_BOOTSTRAP=1 bin/rustc --edition 2024 --target wasm32-wasip1 -O --emit obj -C codegen-units=1 -C panic=abort \
  build/realpath.rs -o "$target/self-contained/realpath.o"
rm -rf build "$usr/src" "$usr/lib/rustlib/src" "$usr/share"

# --- what a build of guests sources ------------------------------------------------------------------------------
# rustup's own component linker makes cargo's output a component. --wasi-adapter=none is needed beside --adapt,
# else the linker's built-in, newer adapter raises the imports to 0.2.6.
linker=$(rustc --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/bin/wasm-component-ld
[[ -x $linker ]] || { echo "setup-guests: no wasm-component-ld in rustup's toolchain" >&2; exit 1; }
cat >env.sh <<ENV
export RUSTC=$prefix/bin/rustc
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTUP_TOOLCHAIN
export CARGO_TARGET_WASM32_WASIP1_LINKER=$linker
export EMET_GUEST_RUSTFLAGS="-C link-arg=--wasm-ld-path=$prefix/bin/wasm-ld -C link-arg=$target/self-contained/realpath.o -C link-arg=--wasi-adapter=none -C link-arg=--adapt=wasi_snapshot_preview1=$prefix/adapter.wasm --remap-path-prefix=$prefix=/toolchain --remap-path-prefix=\${CARGO_HOME:-\$HOME/.cargo}=/cargo"
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="\$EMET_GUEST_RUSTFLAGS"
ENV
touch "$stamp"
echo "guest toolchain: $(bin/rustc -V), $(du -sh "$prefix" | cut -f1) in $prefix"
