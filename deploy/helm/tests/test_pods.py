"""What the chart says is what runs: its pods as real processes, from the image, made ready by their own probes."""
import os
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from chart import ROOT, environment, find, render
from kube import images
from kube.cluster import Cluster

COUNTER = ROOT / "tests/guests/prebuilt/counter.wasm"
TOOLS = ROOT / "target/tools/bin"


def binary() -> Path:
    """The built `emet`: $EMET_BIN, or the newest under target."""
    built = [p for p in (ROOT / "target/debug/emet", ROOT / "target/release/emet") if p.exists()]
    chosen = os.environ.get("EMET_BIN") or max(built, key=lambda p: p.stat().st_mtime, default=None)
    assert chosen, "build emet first: cargo build -p emet"
    return Path(chosen)


def make_cluster(case: type[unittest.TestCase]) -> Cluster:
    directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    case.addClassCleanup(directory.cleanup)
    path = Path(directory.name)
    path.chmod(0o755)
    tools = images.host(TOOLS)
    made = Cluster("emet", path, {
        "emet": images.emet(binary(), path), "redis": tools, "versity/versitygw": tools,
    })
    case.addClassCleanup(made.close)
    return made


class Client:
    """Calls the API through the Service, with the client of the same binary."""

    def __init__(self, cluster: Cluster, api: str):
        self.url = f"http://{cluster.service_address(api)}"

    def emet(self, *arguments: str) -> str:
        environment_ = os.environ | {"EMET_URL": self.url, "NO_COLOR": "1"}
        run = subprocess.run([binary(), *arguments], capture_output=True, text=True, env=environment_, timeout=120)
        if run.returncode != 0:
            raise AssertionError(f"emet {' '.join(arguments)}: {run.stderr}{run.stdout}")
        return run.stdout.strip()

    def add(self, worker: str, amount: int, key: str | None = None) -> int:
        options = ("--idempotency-key", key) if key else ()
        return int(self.emet("worker", "invoke-and-await", f"counter/{worker}", "add", str(amount), *options))

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            return response.read().decode()


def status(pod, field: str) -> str:
    lines = Path(f"/proc/{pod.pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(field + ":"))


class Confinement:
    """Checks that both profiles share. `self.cluster` is running."""

    def test_processes_have_no_rights_and_cannot_write_their_root(self):
        for pod in self.cluster.pods.values():
            with self.subTest(pod.name):
                user = str(pod.spec["securityContext"]["runAsUser"])
                self.assertEqual(status(pod, "Uid").split(), [user] * 4)
                self.assertEqual(int(status(pod, "CapEff"), 16), 0)
                self.assertEqual(status(pod, "NoNewPrivs"), "1")
                mounts = Path(f"/proc/{pod.pid}/mountinfo").read_text().splitlines()
                root = [m for m in mounts if " - overlay " in m][-1]
                self.assertTrue(root.split(" - ")[1].split()[-1].startswith("ro"), root)

    def test_the_test_hook_succeeds(self):
        hook = find(self.objects, "Pod", "-test")
        name = hook["spec"]["containers"][0]
        url = environment(name)["EMET_URL"]
        pod = self.cluster.of(self.api)[0]
        # In the pod of the API: the image has the same program, and names are resolved as in every pod.
        run = pod.execute(["/usr/bin/emet", "--url", url, *name["args"]], 30)
        self.assertEqual(run.returncode, 0, run.stderr.decode())

    def test_nothing_was_restarted(self):
        for pod in self.cluster.pods.values():
            self.assertEqual((pod.restarts, pod.events), (0, []), pod.log()[-2000:])


@unittest.skipUnless(os.environ.get("EMET_TEST_NAMESPACES"), "needs root, for namespaces")
class Minimal(Confinement, unittest.TestCase):
    api = "server"

    @classmethod
    def setUpClass(cls):
        cls.objects = render("minimal")
        cls.cluster = make_cluster(cls)
        cls.cluster.apply(cls.objects)
        cls.client = Client(cls.cluster, "server")
        cls.client.emet("component", "add", "counter", str(COUNTER))

    def test_a_killed_server_is_started_again_and_nothing_is_lost(self):
        self.assertEqual(self.client.add("killed", 5), 5)
        [pod] = self.cluster.of("server")
        pod.kill()
        wait_for(lambda: pod.restarts == 1 and pod.ready.is_set(), 60)
        self.assertEqual(self.client.add("killed", 7), 12)
        pod.restarts, pod.events = 0, []

    def test_an_upgrade_keeps_the_volume(self):
        self.assertEqual(self.client.add("upgraded", 1), 1)
        [before] = self.cluster.of("server")
        self.cluster.apply(render("minimal", "log.level=debug"))
        [after] = self.cluster.of("server")
        self.assertIsNot(before, after)
        self.assertEqual(after.environment()["RUST_LOG"], "debug")
        self.assertEqual(self.client.add("upgraded", 1), 2)

    def test_metrics_are_where_the_service_monitor_looks(self):
        self.assertIn("# TYPE emet_", self.client.get("/metrics"))


def wait_for(condition, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
