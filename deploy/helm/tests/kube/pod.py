"""One pod: its container, its probes, its end."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from .images import Image

CONTAINER = Path(__file__).with_name("container.py")


class Pod:
    """A pod with one container. `read` gives the data of ConfigMaps and Secrets."""

    def __init__(self, name: str, template: dict, image: Image, cluster, claims: dict[str, Path], index: int | None):
        self.name, self.spec, self.image = name, template["spec"], image
        self.labels = dict(template["metadata"]["labels"])
        if index is not None:
            self.labels["apps.kubernetes.io/pod-index"] = str(index)
        [self.container] = self.spec["containers"]
        self.cluster, self.claims = cluster, claims
        self.directory = cluster.directory / "pods" / f"{name}-{time.monotonic_ns()}"
        self.directory.mkdir(parents=True)
        self.ready, self.terminating = threading.Event(), threading.Event()
        self.restarts, self.events = 0, []
        self.process: subprocess.Popen | None = None
        self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    # --- container

    def _start(self) -> None:
        # The pod's network outlives its container; here a restarted container gets a new address.
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", sys.executable, CONTAINER,
                 self.directory / "container.json"],
                stdin=subprocess.PIPE, stdout=log, stderr=log)
        self.pid = self._child()
        self.address = self.cluster.network.connect(self.pid)
        (self.directory / "container.json").write_text(json.dumps(self._specification()))
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def _child(self) -> int:
        """The first process of the pod's namespaces, once it is there."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while self.process.poll() is None:
            if pids := children.read_text().split():
                return int(pids[0])
            time.sleep(0.005)
        raise RuntimeError(f"{self.name} could not be started:\n{self.log()}")

    def _specification(self) -> dict:
        security = self.spec["securityContext"]
        scratch = self.directory / f"scratch-{time.monotonic_ns()}"
        scratch.mkdir()
        command = self.container.get("command", list(self.image.entrypoint))
        environment = self.environment()
        return {
            "image": str(self.image.root),
            "parts": [(str(source), target) for source, target in self.image.parts],
            "scratch": str(scratch),
            "read_only": self.container["securityContext"]["readOnlyRootFilesystem"],
            "user": security["runAsUser"],
            "group": security["runAsGroup"],
            "directory": self.image.directory,
            "argv": [expand(part, environment) for part in command + self.container.get("args", [])],
            "environment": environment,
            "resolv_conf": self.cluster.resolv_conf(),
            "volumes": [self._volume(mount) for mount in self.container.get("volumeMounts", [])],
        }

    def environment(self) -> dict[str, str]:
        values = dict(self.image.environment)
        for source in self.container.get("envFrom", []):
            values |= self.cluster.data("ConfigMap", source["configMapRef"]["name"])
        for variable in self.container.get("env", []):
            if "value" in variable:
                values[variable["name"]] = expand(variable["value"], values)
            else:
                values[variable["name"]] = self._value_from(variable["valueFrom"])
        return values

    def _value_from(self, source: dict) -> str:
        if "secretKeyRef" in source:
            return self.cluster.data("Secret", source["secretKeyRef"]["name"])[source["secretKeyRef"]["key"]]
        path = source["fieldRef"]["fieldPath"]
        if label := re.fullmatch(r"metadata\.labels\['(.+)'\]", path):
            return self.labels[label[1]]
        return {"status.podIP": self.address, "metadata.name": self.name}[path]

    def _volume(self, mount: dict) -> dict:
        [volume] = [v for v in self._volumes() if v["name"] == mount["name"]]
        source = volume["path"] / mount.get("subPath", "")
        if not source.exists():
            self._owned_directory(source)
        return {"source": str(source), "target": mount["mountPath"], "read_only": mount.get("readOnly", False)}

    def _volumes(self) -> list[dict]:
        volumes = [{"name": name, "path": path} for name, path in self.claims.items()]
        for volume in self.spec.get("volumes", []):
            path = self.directory / "volumes" / volume["name"]
            if "secret" in volume and not path.exists():
                self._owned_directory(path)
                for key, value in self.cluster.data("Secret", volume["secret"]["secretName"]).items():
                    (path / key).write_text(value)
                    os.chown(path / key, 0, self.spec["securityContext"]["fsGroup"])
                    (path / key).chmod(volume["secret"]["defaultMode"])
            volumes.append({"name": volume["name"], "path": path})
        return volumes

    def _owned_directory(self, path: Path) -> None:
        """A directory of a volume: root's, and writable for the pod's group, as the kubelet makes them."""
        path.mkdir(parents=True)
        os.chown(path, 0, self.spec["securityContext"]["fsGroup"])
        path.chmod(0o2775)

    # --- probes

    def _keep(self) -> None:
        """Probes the container, and starts it again when it ends or is not alive any more."""
        while not self.terminating.is_set():
            if not self._until_started() or not self._while_alive():
                if self.terminating.is_set():
                    return
                self._restart()

    def _until_started(self) -> bool:
        probe = self.container.get("startupProbe")
        for _ in range(probe.get("failureThreshold", 3) if probe else 0):
            if self.probe(probe):
                return True
            if self._ended_within(self._period(probe)):
                return False
        return probe is None

    def _while_alive(self) -> bool:
        """Until the container has to be started again."""
        probes = {kind: self.container.get(f"{kind}Probe") for kind in ("readiness", "liveness")}
        if probes["readiness"] is None:
            self.ready.set()
        due = {kind: time.monotonic() for kind, probe in probes.items() if probe}
        failures = dict.fromkeys(due, 0)
        while True:
            kind = min(due, key=due.get)
            if self._ended_within(due[kind] - time.monotonic()):
                return False
            probe = probes[kind]
            due[kind] = time.monotonic() + self._period(probe)
            failures[kind] = 0 if self.probe(probe) else failures[kind] + 1
            if kind == "readiness" and failures[kind] == 0:
                self.ready.set()
            elif failures[kind] >= probe.get("failureThreshold", 3):
                if kind == "liveness":
                    self.events.append("killed: not alive")
                    return False
                self.ready.clear()

    def _period(self, probe: dict) -> float:
        return probe.get("periodSeconds", 10) * self.cluster.pace

    def _ended_within(self, seconds: float) -> bool:
        """Waits; whether the container has ended or is to be ended."""
        try:
            self.process.wait(max(seconds, 0))
            return True
        except subprocess.TimeoutExpired:
            return self.terminating.is_set()

    def serves(self) -> bool:
        """Whether Services lead to it. What a probe that was under way finds does not bring back a pod that ends."""
        return self.ready.is_set() and not self.terminating.is_set()

    def _restart(self) -> None:
        self.ready.clear()
        self.kill()
        self.restarts += 1
        self.events.append(f"restarted, exit code {self.process.returncode}")
        # The kubelet's pause grows from here; the tests only ever restart a few times.
        time.sleep(min(0.5 * self.restarts, 5))
        self._start()

    def probe(self, probe: dict) -> bool:
        timeout = probe.get("timeoutSeconds", 1)
        try:
            if "exec" in probe:
                return self.execute(probe["exec"]["command"], timeout).returncode == 0
            action = probe.get("httpGet") or probe["tcpSocket"]
            address = (self.address, self.port(action["port"]))
            if "tcpSocket" in probe:
                socket.create_connection(address, timeout).close()
                return True
            connection = http.client.HTTPConnection(*address, timeout=timeout)
            connection.request("GET", action["path"])
            return 200 <= connection.getresponse().status < 400
        except (OSError, http.client.HTTPException, subprocess.TimeoutExpired):
            return False

    def port(self, name: str | int) -> int:
        if isinstance(name, int):
            return name
        return next(p["containerPort"] for p in self.container["ports"] if p["name"] == name)

    def execute(self, command: list[str], timeout: float, extra: dict | None = None) -> subprocess.CompletedProcess:
        """Runs a command inside of the container, with its environment and some more."""
        security = self.spec["securityContext"]
        enter = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", "--root", "--wd",
                 "--setuid", str(security["runAsUser"]), "--setgid", str(security["runAsGroup"])]
        return subprocess.run([*enter, *command], env=self.environment() | (extra or {}), capture_output=True, timeout=timeout)

    # --- end

    def stop(self) -> float:
        """As the kubelet ends a pod: out of its Services, preStop, SIGTERM, and SIGKILL after the grace period.
        Gives the seconds it took."""
        started = time.monotonic()
        grace = self.spec["terminationGracePeriodSeconds"]
        self.terminating.set()
        self.ready.clear()
        time.sleep(self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(max(grace - (time.monotonic() - started), 0))
        except subprocess.TimeoutExpired:
            self.events.append("killed: the grace period is over")
            self.kill()
        return time.monotonic() - started

    def abandon(self) -> None:
        """Ends the pod at once, whatever it is doing."""
        self.terminating.set()
        # With the process that holds the namespaces goes everything in them.
        self.process.kill()
        self._keeper.join()
        self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """Ends the container at once, as a crash would."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")


def expand(text: str, values: dict[str, str]) -> str:
    """$(NAME), as Kubernetes expands it in arguments and the environment."""
    return re.sub(r"\$\((\w+)\)", lambda m: values.get(m[1], m[0]), text)
