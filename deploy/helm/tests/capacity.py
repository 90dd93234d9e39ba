#!/usr/bin/env python3
"""Measures what docs/operations/capacity.md counts with: runs the pods of profile `dev`, calls a counter, and prints the
processor time and memory of every role per call and worker. Processor time does not depend on what else the machine
does; $EMET_BIN should be a release build. Run by `make helm-capacity`.
"""
import http.client
import json
import re
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import binary
from chart import ROOT, render
from client import Client
from kube import images
from kube.cluster import Cluster
from run import enter_namespaces

ROLES = ("worker-service", "worker-executor", "component-service", "shard-manager")
CALLERS, CALLS = 32, 6_400
BODY = json.dumps({"params": [{"typ": {"type": "U64"}, "value": 1}]})


def metric(pod, name: str) -> float:
    connection = http.client.HTTPConnection(pod.address, pod.port("metrics"), timeout=10)
    connection.request("GET", "/metrics")
    return float(re.search(rf"^{name} (\S+)$", connection.getresponse().read().decode(), re.M)[1])


def redis(cluster: Cluster) -> dict[str, float]:
    info = cluster.of("redis")[0].execute(["redis-cli", "INFO"], 10).stdout.decode()
    fields = ("used_cpu_user", "used_cpu_sys", "used_memory", "aof_current_size")
    return {field: float(re.search(rf"^{field}:(\S+)", info, re.M)[1]) for field in fields}


def processor_times(cluster: Cluster) -> dict[str, float]:
    """Seconds of every role, Redis among them."""
    times = {role: sum(metric(pod, "emet_process_cpu_seconds_total") for pod in cluster.of(role)) for role in ROLES}
    store = redis(cluster)
    return times | {"Redis": store["used_cpu_user"] + store["used_cpu_sys"]}


def call(client: Client, component: str, workers: list[str], calls: int) -> None:
    """Calls the workers in turn, each caller on one connection."""
    def run(own: list[str]) -> None:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(client.url).netloc, timeout=60)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {client.token}"}
        function = urllib.parse.quote("test:counter/api.{add}", safe="")
        for i in range(calls // CALLERS):
            worker = own[i % len(own)]
            path = f"/v1/components/{component}/workers/{worker}/invoke-and-await?function={function}"
            connection.request("POST", path, BODY, headers)
            response = connection.getresponse()
            if response.status != 200:
                raise RuntimeError(response.read().decode())
            response.read()

    threads = [threading.Thread(target=run, args=(workers[i::CALLERS],)) for i in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def per_call(cluster: Cluster, what: str, calls: int, work) -> None:
    """Prints the processor time of each role that a number of calls took."""
    times, store, started = processor_times(cluster), redis(cluster), time.monotonic()
    work()
    elapsed, after, store_after = time.monotonic() - started, processor_times(cluster), redis(cluster)
    print(f"{what}: {calls} calls in {elapsed:.1f} s")
    for role, seconds in after.items():
        print(f"  {role:18} {(seconds - times[role]) / calls * 1e6:7.0f} us of processor time per call")
    for field in ("used_memory", "aof_current_size"):
        print(f"  Redis {field:16} {(store_after[field] - store[field]) / calls:7.0f} bytes per call")


def main() -> None:
    enter_namespaces()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        path = Path(directory)
        path.chmod(0o755)
        tools = images.host(ROOT / "target/tools")
        cluster = Cluster("emet", path, {
            "emet": images.emet(binary.emet(), path), "redis": tools, "versity/versitygw": tools})
        try:
            measure(cluster)
        finally:
            cluster.close()


def measure(cluster: Cluster) -> None:
    cluster.apply(render("dev"))
    client = Client(f"http://{cluster.service_address('worker-service')}", cluster.data("Secret", "t-emet-token")["token"])
    component = client.upload("counter", ROOT / "tests/guests/prebuilt/counter.wasm")
    for role in ROLES:
        pods = cluster.of(role)
        print(f"idle {role:18} {max(metric(pod, 'emet_process_resident_bytes') for pod in pods) / 2**20:6.0f} MiB resident")
    few = [f"few-{i}" for i in range(CALLERS * 2)]
    call(client, component, few, CALLS // 10)
    per_call(cluster, "workers in memory", CALLS, lambda: call(client, component, few, CALLS))
    new = [f"new-{i}" for i in range(CALLS // 10)]
    per_call(cluster, "first calls of new workers", len(new), lambda: call(client, component, new, len(new)))

    [owner, *_] = cluster.of("worker-executor")
    owner.kill()
    started = time.monotonic()
    for worker in few:
        client.add(component, worker, 1)
    print(f"an executor was killed: all {len(few)} workers had answered again after {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
