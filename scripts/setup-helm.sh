#!/usr/bin/env bash
# Tools of `make test-helm` into target/tools: helm, the Kubernetes schemas, the definitions of the custom resources
# that the chart uses. What is there already is kept; a changed version is installed beside it.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/target/tools
helm=v3.22.0
schemas=1.37.0
gateway_api=sigs.k8s.io/gateway-api@v1.6.3
prometheus=github.com/prometheus-operator/prometheus-operator@v0.85.0
mkdir -p "$tools/bin"

packages=()
command -v ip >/dev/null || packages+=(iproute2)
command -v openssl >/dev/null || packages+=(openssl)
command -v unshare >/dev/null || packages+=(util-linux)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
[[ -e /etc/ssl/certs/ca-certificates.crt ]] || packages+=(ca-certificates)
if [[ ${#packages[@]} -gt 0 ]]; then
  [[ $(id -u) -eq 0 ]] || { echo "missing packages: ${packages[*]} (apt-get install ${packages[*]})" >&2; exit 1; }
  apt-get update -q && apt-get install -qy --no-install-recommends "${packages[@]}"
fi
PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || { echo "go is missing: install Go 1.26 or newer" >&2; exit 1; }
if [[ ! -x $tools/bin/helm-$helm ]]; then
  GOBIN=$tools/bin go install helm.sh/helm/v3/cmd/helm@$helm
  mv "$tools/bin/helm" "$tools/bin/helm-$helm"
fi
ln -sf "helm-$helm" "$tools/bin/helm"

venv=$tools/helm-venv-$schemas
if [[ ! -x $venv/bin/kubernetes-validate ]]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q "kubernetes-validate==$schemas" "PyYAML>=6"
fi
ln -sfn "helm-venv-$schemas" "$tools/helm-venv"

# The module's folder in Go's cache; downloaded if it isn't there.
module() { (cd "$tools" && go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)",/\1/p'); }
mkdir -p "$tools/crds"
[[ -e $tools/crds/httproutes.yaml ]] ||
  cp "$(module $gateway_api)/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml" "$tools/crds/httproutes.yaml"
for kind in servicemonitors prometheusrules; do
  [[ -e $tools/crds/$kind.yaml ]] ||
    cp "$(module $prometheus)/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$tools/crds/$kind.yaml"
done
chmod u+w "$tools"/crds/*
