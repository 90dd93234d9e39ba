#!/usr/bin/env bash
# Puts Debian's libfaketime into target/tools, for tests in which the clock of a process jumps.
# Nothing is installed into the system. Does nothing if it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
if [[ -e $tools/lib/libfaketime.so.1 ]]; then exit 0; fi
command -v apt-get >/dev/null || { echo "libfaketime is missing: put libfaketime.so.1 into $tools/lib" >&2; exit 1; }
mkdir -p "$tools/lib"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q libfaketime >/dev/null 2>&1 \
  || { apt-get update -q >/dev/null && apt-get download -q libfaketime >/dev/null; }
dpkg -x ./libfaketime_*.deb faketime
cp faketime/usr/lib/*-linux-gnu/faketime/libfaketime.so.1 "$tools/lib/libfaketime.so.1"
