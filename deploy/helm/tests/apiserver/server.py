"""A real Kubernetes API server on loopback: etcd and kube-apiserver, without nodes and controllers."""
import functools
import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from chart import ROOT

BIN = ROOT / "target/tools/bin"
TOKEN = "administrator"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class ApiServer:
    def __init__(self, directory: Path):
        self.directory = directory
        client, peer, self.port = free_port(), free_port(), free_port()
        self.processes = [self._start("etcd", [
            "--data-dir", directory / "etcd", "--listen-client-urls", f"http://127.0.0.1:{client}",
            "--advertise-client-urls", f"http://127.0.0.1:{client}", "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            # Nothing here has to survive a power failure.
            "--unsafe-no-fsync"])]
        key = directory / "service-accounts.pem"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (directory / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        self.processes.append(self._start("kube-apiserver", [
            "--etcd-servers", f"http://127.0.0.1:{client}", "--bind-address", "127.0.0.1",
            # What it tells pods of itself; there are none, and a loopback address is refused.
            "--advertise-address", "192.0.2.1", "--secure-port", str(self.port), "--cert-dir", directory / "certificates",
            "--service-cluster-ip-range", "10.96.0.0/16", "--token-auth-file", directory / "tokens.csv",
            "--authorization-mode", "RBAC", "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", key, "--service-account-signing-key-file", key]))
        self._tls = ssl._create_unverified_context()
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                      "insecure-skip-tls-verify": True}}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}]}))
        self._wait()

    def _start(self, program: str, arguments: list) -> subprocess.Popen:
        log = open(self.directory / f"{program}.log", "wb")
        return subprocess.Popen([BIN / program, *arguments], stdout=log, stderr=log)

    def _wait(self) -> None:
        for _ in range(1200):
            if failed := [p for p in self.processes if p.poll() is not None]:
                raise RuntimeError(f"{failed[0].args[0]} ended: " + self._logs())
            try:
                if self.request("GET", "/readyz", raw=True) == b"ok":
                    return
            except (OSError, urllib.error.URLError):
                pass
            time.sleep(0.1)
        raise TimeoutError("the API server is not ready: " + self._logs())

    def _logs(self) -> str:
        return "".join(log.read_text(errors="replace")[-2000:] for log in self.directory.glob("*.log"))

    def request(self, method: str, path: str, body: dict | None = None, raw: bool = False):
        """One call of the API. Errors are HTTPError, with the server's reason in the message."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=30) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            if error.code == 429:
                # The storage of a kind that was just defined is being set up.
                time.sleep(int(error.headers.get("Retry-After", 1)))
                return self.request(method, path, body, raw)
            error.msg = f"{error.msg}: {error.read().decode(errors='replace')}"
            raise
        return answer if raw else json.loads(answer)

    @functools.cached_property
    def namespaced(self) -> dict[str, str]:
        """Path of every kind of object that can be listed in a namespace."""
        groups = {"/api/v1"}
        for group in self.request("GET", "/apis")["groups"]:
            groups.add("/apis/" + group["preferredVersion"]["groupVersion"])
        return {
            f"{group}/{resource['name']}": resource["kind"]
            for group in groups for resource in self.request("GET", group)["resources"]
            if resource["namespaced"] and "list" in resource["verbs"]
        }

    def objects(self, namespace: str) -> dict[tuple[str, str], dict]:
        """Every object of a namespace, by kind and name."""
        found = {}
        for path, kind in self.namespaced.items():
            group, _, plural = path.rpartition("/")
            for o in self.request("GET", f"{group}/namespaces/{namespace}/{plural}")["items"]:
                found[kind, o["metadata"]["name"]] = o
        return found

    def stop(self) -> None:
        """At once: nothing of it is needed again."""
        for process in self.processes:
            process.kill()
            process.wait()
