"""Objects, Services and rollouts."""
import base64
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .images import Image
from .network import DNS, DOMAIN, Network
from .pod import Pod


class Cluster:
    """Runs the objects of a rendered chart. Images are chosen by their name with the tag, or else without it. Probes come
    at `pace` times their periods: a test does not wait a minute for what a liveness probe would do after one."""

    def __init__(self, namespace: str, directory: Path, images: dict[str, Image], pace: float = 0.2):
        self.namespace, self.directory, self.images, self.pace = namespace, directory, images, pace
        self.network = Network()
        self.objects: dict[tuple[str, str], dict] = {}
        self.pods: dict[str, Pod] = {}
        self._addresses: dict[str, str] = {}
        self.network.serve_dns(self.lookup)

    def apply(self, objects: list[dict]) -> None:
        """Installs or upgrades: all workloads at once, each by its own strategy. Returns when all are ready."""
        before = self.objects
        self.objects = {(o["kind"], o["metadata"]["name"]): o for o in objects}
        # What the chart draws it looks up first, and keeps; a rendering without a server can't.
        self.objects |= {key: o for key, o in before.items() if key[0] == "Secret"}
        for (kind, name), o in self.objects.items():
            if kind == "Service" and o["spec"].get("clusterIP") != "None" and name not in self._addresses:
                self._expose(name, o["spec"])
        workloads = [o for (kind, _), o in self.objects.items() if kind in ("StatefulSet", "Deployment")]
        with ThreadPoolExecutor(max(len(workloads), 1)) as pool:
            list(pool.map(lambda o: self._roll_out(before.get((o["kind"], o["metadata"]["name"])), o), workloads))

    def data(self, kind: str, name: str) -> dict[str, str]:
        """What a ConfigMap or a Secret holds."""
        o = self.objects[kind, name]
        if kind == "ConfigMap":
            return o.get("data", {})
        decoded = {key: base64.b64decode(value).decode() for key, value in o.get("data", {}).items()}
        return decoded | o.get("stringData", {})

    # --- rollouts

    def of(self, component: str) -> list[Pod]:
        """The pods of a role, by name."""
        mine = [p for p in self.pods.values() if p.labels["app.kubernetes.io/component"] == component]
        return sorted(mine, key=lambda pod: pod.name)

    def _roll_out(self, before: dict | None, after: dict) -> None:
        name, replicas = after["metadata"]["name"], after["spec"].get("replicas", 1)
        same = before is not None and before["spec"]["template"] == after["spec"]["template"]
        if after["kind"] == "StatefulSet":
            self._roll_out_stateful(after, name, replicas, same)
        else:
            self._roll_out_deployment(after, name, replicas, same)

    def _roll_out_stateful(self, o: dict, name: str, replicas: int, same: bool) -> None:
        first = o["spec"].get("ordinals", {}).get("start", 0)
        wanted = {f"{name}-{index}": index for index in range(first, first + replicas)}
        existing = [pod for pod in self.pods if pod.rpartition("-")[0] == name]
        for pod in sorted(existing, reverse=True):
            if pod not in wanted:
                self.pods.pop(pod).stop()
        missing = [pod for pod in wanted if pod not in self.pods]
        for pod in missing:
            self._start(pod, o, wanted[pod])
            if o["spec"].get("podManagementPolicy") != "Parallel":
                self.wait_ready(self.pods[pod])
        for pod in missing:
            self.wait_ready(self.pods[pod])
        # Updates go from the highest ordinal down, each waiting until the one before is ready.
        for pod in [] if same else sorted(set(wanted) - set(missing), key=wanted.get, reverse=True):
            self.pods[pod].stop()
            self._start(pod, o, wanted[pod])
            self.wait_ready(self.pods[pod])

    def _roll_out_deployment(self, o: dict, name: str, replicas: int, same: bool) -> None:
        old = [pod for pod in self.pods if pod.rpartition("-")[0] == name]
        keep = old[:replicas] if same else []
        for _ in range(replicas - len(keep)):
            fresh = f"{name}-{time.monotonic_ns():x}"
            self._start(fresh, o, None)
            self.wait_ready(self.pods[fresh])
            # maxSurge 1, maxUnavailable 0: one goes when one has come.
            if gone := next((pod for pod in old if pod in self.pods and pod not in keep), None):
                self.pods.pop(gone).stop()
        for pod in old:
            if pod in self.pods and pod not in keep:
                self.pods.pop(pod).stop()

    def start_beside(self, o: dict, pod: str, index: int) -> Pod:
        """Starts one more pod of a workload, waiting for nothing."""
        self._start(pod, o, index)
        return self.pods[pod]

    def replace_volumes(self, pod: Pod, o: dict) -> None:
        """Deletes the claims of a pod and the pod: another one starts on empty volumes."""
        self.pods.pop(pod.name).stop()
        for path in pod.claims.values():
            shutil.rmtree(path)
        self._start(pod.name, o, int(pod.labels["apps.kubernetes.io/pod-index"]))

    def _start(self, pod: str, o: dict, index: int | None) -> None:
        template = o["spec"]["template"]
        name = template["spec"]["containers"][0]["image"]
        image = self.images.get(name) or self.images[name.rpartition(":")[0]]
        claims = {}
        for claim in o["spec"].get("volumeClaimTemplates", []):
            path = self.directory / "claims" / f"{claim['metadata']['name']}-{pod}"
            if not path.exists():
                path.mkdir(parents=True)
                shutil.chown(path, 0, template["spec"]["securityContext"]["fsGroup"])
                path.chmod(0o2775)
            claims[claim["metadata"]["name"]] = path
        self.pods[pod] = Pod(pod, template, image, self, claims, index)

    def wait_ready(self, pod: Pod, seconds: float = 120) -> None:
        if not pod.ready.wait(seconds):
            raise TimeoutError(f"{pod.name} is not ready after {seconds} s\n{self.report()}")

    def report(self) -> str:
        """The state of all pods, and the ends of their logs."""
        return "\n".join(
            f"--- {pod.name} {'ready' if pod.ready.is_set() else 'not ready'} {pod.events}\n{pod.log()[-1500:]}"
            for pod in self.pods.values())

    def close(self) -> None:
        """Ends all pods at once, and takes the network away."""
        for pod in self.pods.values():
            pod.abandon()
        self.pods.clear()
        self.network.close()

    # --- Services and names

    def _expose(self, name: str, spec: dict) -> None:
        self._addresses[name] = self.network.cluster_address()
        for port in spec["ports"]:
            self.network.forward(self._addresses[name], port["port"], lambda target=port["targetPort"]: [
                (pod.address, pod.port(target)) for pod in self._selected(spec) if pod.serves()])

    def _selected(self, spec: dict) -> list[Pod]:
        return [p for p in list(self.pods.values()) if spec["selector"].items() <= p.labels.items()]

    def service_address(self, component: str) -> str:
        [name] = [name for name in self._addresses if name.endswith(f"-{component}")]
        return self._addresses[name]

    def resolv_conf(self) -> str:
        search = f"{self.namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}"
        return f"nameserver {DNS}\nsearch {search}\noptions ndots:5\n"

    def lookup(self, name: str) -> list[str] | None:
        suffix = f".{self.namespace}.svc.{DOMAIN}"
        if not name.endswith(suffix):
            return None
        *pod, service = name.removesuffix(suffix).split(".")
        o = self.objects.get(("Service", service))
        if o is None:
            return None
        if service in self._addresses and not pod:
            return [self._addresses[service]]
        chosen = [p for p in self._selected(o["spec"])
                  if (p.serves() or o["spec"].get("publishNotReadyAddresses")) and (not pod or [p.name] == pod)]
        return [p.address for p in chosen] or None
