"""Renders the chart, for all tests."""
import functools
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy/helm/emet"
HELM = ROOT / "target/tools/bin/helm"
PROFILES = ("minimal", "dev", "cluster")
# Oldest and newest Kubernetes that the chart is checked against.
KUBERNETES = ("1.30", "1.37")

# Everything that can be switched on, per profile.
EVERYTHING = {
    profile: (
        "ingress.enabled=true", "ingress.hosts[0]=emet.example.com", "ingress.className=nginx",
        "ingress.tls[0].secretName=emet-tls", "ingress.tls[0].hosts[0]=emet.example.com",
        "httpRoute.enabled=true", "httpRoute.parentRefs[0].name=gateway", "httpRoute.hostnames[0]=emet.example.com",
        "metrics.serviceMonitor.enabled=true", "metrics.dashboards.enabled=true", "metrics.rules.enabled=true",
        "telemetry.otlpEndpoint=http://collector.telemetry:4317", "image.pullSecrets[0]=registry",
        "networkPolicy.apiFrom[0].namespaceSelector.matchLabels.web=yes",
        "networkPolicy.storesTo[0].ipBlock.cidr=192.0.2.0/24", "guestNetwork.allow[0]=10.1.0.0/16",
        *(() if profile == "minimal" else (
            "peers.tls.existingSecret=emet-peer-tls", "redis.tls.existingSecret=emet-redis-tls",
            "redis.tls.clientCertificate=true", "workerExecutor.autoscaling.enabled=true",
            "componentService.autoscaling.enabled=true", "workerService.autoscaling.enabled=true",
        )),
    )
    for profile in PROFILES
}


class Loader(yaml.CSafeLoader):
    """YAML that refuses a key given twice, as the Kubernetes API does."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice", node.start_mark)
        return super().construct_mapping(node, deep)


class RenderError(Exception):
    """What helm said when it refused the values."""


@functools.lru_cache(maxsize=None)
def text(profile: str, *sets: str, kubernetes: str = KUBERNETES[-1]) -> str:
    """The rendered chart: a profile with its values file, and `--set` arguments."""
    command = [HELM, "template", "t", CHART, "--namespace", "emet", "--kube-version", f"{kubernetes}.0",
               "--values", CHART / f"profiles/{profile}.yaml"]
    for one in sets:
        command += ["--set", one]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        raise RenderError(run.stderr)
    return run.stdout


def render(profile: str, *sets: str, kubernetes: str = KUBERNETES[-1]) -> list[dict]:
    """The objects of the rendered chart."""
    documents = yaml.load_all(text(profile, *sets, kubernetes=kubernetes), Loader)
    return [document for document in documents if document]


def find(objects: list[dict], kind: str, name: str) -> dict:
    """The one object of a kind whose name ends so."""
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"].endswith(name)]
    assert len(found) == 1, f"{len(found)} objects {kind} {name}"
    return found[0]


def pods(objects: list[dict]) -> dict[str, dict]:
    """The pod specs of all workloads and hooks, by kind and name."""
    specs = {}
    for o in objects:
        spec = o["spec"] if o["kind"] == "Pod" else o.get("spec", {}).get("template", {}).get("spec")
        if spec:
            specs[f"{o['kind']}/{o['metadata']['name']}"] = spec
    return specs


def containers(objects: list[dict]) -> dict[str, dict]:
    """All containers, by pod and name."""
    return {
        f"{name}/{container['name']}": container
        for name, spec in pods(objects).items()
        for container in spec.get("initContainers", []) + spec["containers"]
    }


def environment(container: dict) -> dict[str, object]:
    """Name to value, or to where the value comes from."""
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container.get("env", [])}
