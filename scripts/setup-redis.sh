#!/usr/bin/env bash
# Puts Debian's redis-server and redis-cli into target/tools, for tests. Nothing is installed into
# the system and no service is started. Does nothing if Redis 7 or newer is there.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
for server in "$tools/bin/redis-server" "$(command -v redis-server || true)"; do
  if [[ -x $server ]] && "$server" --version | grep -E 'v=([7-9]|[1-9][0-9])\.' >/dev/null; then exit 0; fi
done
command -v apt-get >/dev/null || { echo "redis-server 7 or newer is missing: install it with your package manager" >&2; exit 1; }
mkdir -p "$tools/bin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
packages=(redis-server redis-tools libjemalloc2 liblzf1 libatomic1 libsystemd0)
apt-get download -q "${packages[@]}" >/dev/null 2>&1 \
  || { apt-get update -q >/dev/null && apt-get download -q "${packages[@]}" >/dev/null; }
for package in ./*.deb; do dpkg -x "$package" redis; done
rm -rf "$tools/redis"
mv redis "$tools/redis"
# The libraries come along, so the programs are started through scripts that say where.
for program in redis-server redis-cli; do
  cat > "$tools/bin/$program" <<SCRIPT
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")/../redis
LD_LIBRARY_PATH=\$(echo "\$here"/usr/lib/*-linux-gnu):\$(echo "\$here"/lib/*-linux-gnu) exec "\$here/usr/bin/$program" "\$@"
SCRIPT
  chmod +x "$tools/bin/$program"
done
"$tools/bin/redis-server" --version
