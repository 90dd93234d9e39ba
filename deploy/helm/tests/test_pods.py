"""What the chart says is what runs: its pods as real processes, from the image, made ready by their own probes."""
import json
import os
import re
import signal
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import binary
from chart import ROOT, environment, find, render
from client import Client, Load
from kube import images
from kube.certificates import tls_secret
from kube.cluster import Cluster

COUNTER = ROOT / "tests/guests/prebuilt/counter.wasm"
CLOCKS = ROOT / "tests/guests/prebuilt/clocks.wasm"
TOOLS = ROOT / "target/tools"


def make_cluster(case: type[unittest.TestCase], **releases: Path) -> Cluster:
    """A cluster without objects; `releases` are binaries by the tags of their images, beside the built one."""
    directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    case.addClassCleanup(directory.cleanup)
    path = Path(directory.name)
    path.chmod(0o755)
    tools = images.host(TOOLS)
    made = Cluster("emet", path, {
        "emet": images.emet(binary.emet(), path), "redis": tools, "versity/versitygw": tools,
        **{f"emet:{tag}": images.emet(program, path) for tag, program in releases.items()},
    })
    case.addClassCleanup(made.close)
    return made


def status(pod, field: str) -> str:
    lines = Path(f"/proc/{pod.pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(field + ":"))


class Profile:
    """What both profiles share. `cluster` is running."""

    @classmethod
    def connect(cls):
        """Uploads a component through the Service of the API."""
        url = f"http://{cls.cluster.service_address(cls.api)}"
        cls.client = Client(url, cls.cluster.data("Secret", "t-emet-token")["token"])
        try:
            cls.component = cls.client.upload("counter", COUNTER)
        except OSError as error:
            raise AssertionError(f"{error}\n{cls.cluster.report()}") from error

    def setUp(self):
        self.wait_all_ready()

    def wait_all_ready(self):
        for pod in self.cluster.pods.values():
            self.cluster.wait_ready(pod)

    def add(self, worker: str, amount: int) -> int:
        return self.client.add(self.component, worker, amount)

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
        run = pod.execute(["/usr/bin/emet", *name["args"]], 30, {"EMET_URL": url, "EMET_TOKEN": self.client.token})
        self.assertEqual(run.returncode, 0, run.stderr.decode())

    def test_callers_need_the_token_of_the_secret(self):
        for token in (None, "x" * 48):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                Client(self.client.url, token).request("GET", "/v1/components")
            self.assertEqual(refused.exception.code, 401)
        self.assertEqual(len(self.client.request("GET", "/v1/components")), 1)

    def test_metrics_are_where_the_service_monitor_looks(self):
        for role in self.roles:
            pod = self.cluster.of(role)[0]
            self.assertIn("# TYPE emet_", get(pod, "metrics", "/metrics")[1], role)

    def test_nothing_was_restarted(self):
        for pod in self.cluster.pods.values():
            self.assertEqual((pod.restarts, pod.events), (0, []), pod.log()[-2000:])


@unittest.skipUnless(os.environ.get("EMET_TEST_NAMESPACES"), "needs root, for namespaces")
class Minimal(Profile, unittest.TestCase):
    api = "server"
    roles = ("server",)

    @classmethod
    def setUpClass(cls):
        cls.objects = render("minimal")
        cls.cluster = make_cluster(cls)
        cls.cluster.apply(cls.objects)
        cls.connect()

    def test_a_killed_server_is_started_again_and_nothing_is_lost(self):
        self.assertEqual(self.add("killed", 5), 5)
        [pod] = self.cluster.of("server")
        pod.kill()
        wait_for(lambda: pod.restarts == 1 and pod.ready.is_set(), 60)
        self.assertEqual(self.add("killed", 7), 12)
        pod.restarts, pod.events = 0, []

    def test_an_upgrade_keeps_the_volume(self):
        self.assertEqual(self.add("upgraded", 1), 1)
        [before] = self.cluster.of("server")
        self.cluster.apply(render("minimal", "log.level=debug"))
        [after] = self.cluster.of("server")
        self.assertIsNot(before, after)
        self.assertEqual(after.environment()["RUST_LOG"], "debug")
        self.assertEqual(self.add("upgraded", 1), 2)


@unittest.skipUnless(os.environ.get("EMET_TEST_NAMESPACES"), "needs root, for namespaces")
class WholeCluster(Profile, unittest.TestCase):
    api = "worker-service"
    roles = ("shard-manager", "worker-executor", "component-service", "worker-service")

    @classmethod
    def setUpClass(cls):
        cls.objects = render("dev")
        cls.cluster = make_cluster(cls)
        cls.cluster.apply(cls.objects)
        cls.connect()

    def status(self) -> dict:
        """The cluster's state, as the executors' own settings reach it."""
        run = self.cluster.of("worker-executor")[0].execute(["/usr/bin/emet", "cluster", "status", "--output", "json"], 30)
        self.assertEqual(run.returncode, 0, run.stderr.decode())
        return json.loads(run.stdout)

    def settled(self, executors: int) -> bool:
        status = self.status()
        return len(status["executors"]) == executors and status["unowned"] == status["moving"] == 0

    def test_managers_agree_and_every_shard_has_an_owner(self):
        wait_for(lambda: self.settled(2), 30)
        status = self.status()
        self.assertEqual([m["id"] for m in status["managers"]], [1, 2, 3])
        self.assertEqual(sum(m["leader"] for m in status["managers"]), 1)

    def test_all_shard_managers_may_start_again_at_once(self):
        version = self.status()["version"]
        for pod in self.cluster.of("shard-manager"):
            pod.kill()
        for pod in self.cluster.of("shard-manager"):
            wait_for(lambda pod=pod: pod.restarts == 1 and pod.ready.is_set(), 60)
            pod.restarts, pod.events = 0, []
        self.assertGreaterEqual(self.status()["version"], version, "the group is the same one")
        self.assertEqual(self.add("after-managers", 3), 3)

    def test_a_redis_that_hangs_makes_executors_unready_and_restarts_nothing(self):
        [redis] = self.cluster.of("redis")
        executors = self.cluster.of("worker-executor")
        liveness = executors[0].container["livenessProbe"]
        patience = liveness["periodSeconds"] * liveness["failureThreshold"] * self.cluster.pace
        os.kill(redis.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: not any(pod.ready.is_set() for pod in executors), 60)
            time.sleep(patience * 1.2)
        finally:
            os.kill(redis.pid, signal.SIGCONT)
        self.wait_all_ready()
        self.assertEqual(self.add("after-redis", 1), 1)
        self.test_nothing_was_restarted()

    def set_managers(self, *numbers: int) -> None:
        [executor, *_] = self.cluster.of("worker-executor")
        host = "t-emet-shard-manager-{0}.t-emet-shard-manager.emet.svc.cluster.local"
        members = ",".join(f"{n}=http://{host.format(n)}:9002" for n in numbers)
        run = executor.execute(["/usr/bin/emet", "cluster", "set-managers", "--members", members], 60)
        self.assertEqual(run.returncode, 0, run.stderr.decode())
        self.assertEqual([m["id"] for m in self.status()["managers"] if m["voter"]], list(numbers))

    def test_the_group_of_shard_managers_grows_and_shrinks(self):
        with ThreadPoolExecutor(1) as pool:
            # New pods become ready when the group has taken them in.
            grown = pool.submit(self.cluster.apply, render("dev", "shardManager.replicas=5"))
            wait_for(lambda: len(self.cluster.of("shard-manager")) == 5, 60)
            wait_for(lambda: all(get(p, "metrics", "/metrics")[0] == 200 for p in self.cluster.of("shard-manager")), 60)
            self.set_managers(1, 2, 3, 4, 5)
            grown.result(240)
        self.assertEqual(self.add("grown", 3), 3)
        self.set_managers(1, 2, 3)
        self.cluster.apply(self.objects)
        self.wait_all_ready()
        self.assertEqual(self.add("grown", 3), 6)

    def test_a_lost_volume_of_a_shard_manager_is_replaced(self):
        version = self.status()["version"]
        self.set_managers(1, 3)
        lost = self.cluster.of("shard-manager")[1]
        self.cluster.replace_volumes(lost, find(self.objects, "StatefulSet", "shard-manager"))
        wait_for(lambda: get(self.cluster.pods[lost.name], "metrics", "/metrics")[0] == 200, 60)
        self.set_managers(1, 2, 3)
        self.wait_all_ready()
        # It counts: with it there is a majority without another one.
        first = self.cluster.of("shard-manager")[0]
        os.kill(first.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: self.leader() in (2, 3), 60)
            self.assertGreaterEqual(self.status()["version"], version, "it has what the others had")
        finally:
            os.kill(first.pid, signal.SIGCONT)
        self.wait_all_ready()
        first.restarts, first.events = 0, []

    def leader(self) -> int | None:
        """The number of the shard manager that a majority follows."""
        leads = [int(pod.labels["apps.kubernetes.io/pod-index"]) for pod in self.cluster.of("shard-manager")
                 if pod.ready.is_set() and "\nemet_manager_leads 1\n" in get(pod, "metrics", "/metrics")[1]]
        return leads[0] if leads else None

    def test_executors_come_and_go(self):
        self.assertEqual(self.add("scaled", 1), 1)
        for replicas in (3, 2):
            self.cluster.apply(render("dev", f"workerExecutor.replicas={replicas}"))
            wait_for(lambda replicas=replicas: self.settled(replicas), 60)
            self.assertTrue(all(e["shards"] > 0 for e in self.status()["executors"]))
        self.assertEqual(self.add("scaled", 1), 2)


@unittest.skipUnless(os.environ.get("EMET_TEST_NAMESPACES"), "needs root, for namespaces")
class Releases(unittest.TestCase):
    """The whole cluster, and later minor versions of it."""

    @classmethod
    def setUpClass(cls):
        cls.version = binary.emet_version(binary.emet())
        (cls.next, program), (cls.after_next, far) = binary.next_release(1), binary.next_release(2)
        cls.cluster = make_cluster(cls, **{cls.next: program, cls.after_next: far})
        cls.cluster.apply(render("dev"))
        url = f"http://{cls.cluster.service_address('worker-service')}"
        cls.client = Client(url, cls.cluster.data("Secret", "t-emet-token")["token"])
        cls.counter, cls.clocks = cls.client.upload("counter", COUNTER), cls.client.upload("clocks", CLOCKS)

    def versions(self) -> set[str]:
        """What the processes of all roles call themselves."""
        found = set()
        for role in WholeCluster.roles:
            for pod in self.cluster.of(role):
                found |= set(re.findall(r'^emet_build_info\{version="(.+)"\} 1$', get(pod, "metrics", "/metrics")[1], re.M))
        return found

    def test_an_upgrade_and_its_rollback_under_load_lose_no_call(self):
        for tag in (self.next, self.version):
            with Load(self.client, self.counter, self.clocks) as load:
                wait_for(lambda: load.calls > 100, 60)
                started = time.monotonic()
                self.cluster.apply(render("dev", f"image.tag={tag}"))
                took = time.monotonic() - started
                after, lasting = load.calls, load.lasting_calls
                wait_for(lambda: load.calls > after + 100 and load.lasting_calls > lasting + 2, 60)
            print(f"to {tag} in {took:.0f} s; {load.calls} calls, of which the longest took {load.longest:.2f} s, "
                  f"and {load.lasting_calls} of {load.LASTING_MS // 1000} s")
            self.assertEqual(load.failures, [])
            self.assertEqual(self.versions(), {tag})
            for pod in self.cluster.pods.values():
                self.assertNotIn("killed: the grace period is over", pod.events)

    def test_processes_two_minor_versions_ahead_are_refused_and_do_no_harm(self):
        objects = render("dev", f"image.tag={self.after_next}")
        skew = f"VersionSkew: the caller is {self.after_next}, this service {self.version}"
        executor = self.cluster.start_beside(find(objects, "StatefulSet", "worker-executor"), "t-emet-worker-executor-9", 9)
        service = self.cluster.start_beside(find(objects, "Deployment", "worker-service"), "t-emet-worker-service-far", 9)
        try:
            wait_for(lambda: skew in executor.log(), 60)
            wait_for(lambda: skew in get(service, "http", "/healthcheck")[1], 60)
            self.assertEqual(get(executor, "metrics", "/healthcheck")[0], 503)
            self.assertFalse(executor.ready.is_set() or service.ready.is_set())
            for worker in range(20):
                self.assertEqual(self.client.add(self.counter, f"beside-{worker}", 2), 2)
        finally:
            for pod in (executor, service):
                self.cluster.pods.pop(pod.name).stop()


@unittest.skipUnless(os.environ.get("EMET_TEST_NAMESPACES"), "needs root, for namespaces")
class MutualTls(unittest.TestCase):
    """The whole cluster with certificates between its services."""

    def test_it_becomes_ready_and_works(self):
        cluster = make_cluster(type(self))
        secret = tls_secret("emet-peer-tls", "emet")
        cluster.apply([*render("dev", "peers.tls.existingSecret=emet-peer-tls"), secret])
        url = f"http://{cluster.service_address('worker-service')}"
        client = Client(url, cluster.data("Secret", "t-emet-token")["token"])
        component = client.upload("counter", COUNTER)
        for worker in range(20):
            self.assertEqual(client.add(component, f"tls-{worker}", 2), 2)
        run = cluster.of("worker-executor")[0].execute(["/usr/bin/emet", "cluster", "status"], 30)
        self.assertIn("https://", run.stdout.decode(), run.stderr.decode())


def get(pod, port: str, path: str) -> tuple[int, str]:
    """Status and body of an HTTP request to a pod; 0 while nothing listens."""
    try:
        with urllib.request.urlopen(f"http://{pod.address}:{pod.port(port)}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def wait_for(condition, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
