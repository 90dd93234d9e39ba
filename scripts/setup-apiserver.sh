#!/usr/bin/env bash
# kube-apiserver and etcd of the versions in deploy/helm/tests/apiserver/go.mod, into target/tools/bin.
# Takes some ten minutes of one core and 2 GB in Go's caches, once.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/target/tools/bin
cd "$root/deploy/helm/tests/apiserver"
recipe=$(cat go.mod go.sum "$root/scripts/setup-apiserver.sh" | sha256sum | cut -c1-12)
stamp=$bin/.apiserver-$recipe
[[ -e $stamp ]] && exit 0
PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || { echo "go is missing: install Go 1.26 or newer" >&2; exit 1; }
mkdir -p "$bin"
# One package at a time: it leaves the machine usable, and its memory small.
export GOFLAGS=-p=1
nice go build -o "$bin/etcd" go.etcd.io/etcd/server/v3
# The version that the server tells its clients is set when it is linked.
version=$(sed -n 's/^\tk8s.io\/kubernetes \(v.*\)/\1/p' go.mod)
nice go build -ldflags "-X k8s.io/component-base/version.gitVersion=$version" \
  -o "$bin/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
touch "$stamp"
