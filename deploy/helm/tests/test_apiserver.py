"""The chart on a real Kubernetes API server: what helm makes of it, and what the server makes of that."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from apiserver.server import ApiServer
from chart import CHART, EVERYTHING, HELM, PROFILES, ROOT, pods, render

# Made by helm itself, or by the server.
NOT_OURS = {"Event", "EndpointSlice", "Endpoints"}


class Release:
    """A release of a profile in a namespace of its own."""

    def __init__(self, server: ApiServer, profile: str, namespace: str):
        self.server, self.profile, self.namespace = server, profile, namespace
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        server.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace, "labels": labels}})
        # What the controller of service accounts does in every namespace.
        server.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "default"}})

    def helm(self, *arguments: str) -> str:
        command = [HELM, "--kubeconfig", self.server.kubeconfig, "--namespace", self.namespace, *arguments]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise AssertionError(f"helm {' '.join(map(str, arguments))}: {run.stderr}")
        return run.stdout

    def apply(self, verb: str, *sets: str) -> str:
        options = [part for one in sets for part in ("--set", one)]
        return self.helm(verb, "t", str(CHART), "--values", str(CHART / f"profiles/{self.profile}.yaml"), *options)

    def objects(self) -> dict[tuple[str, str], dict]:
        """What is there, without what isn't the chart's."""
        return {
            key: o for key, o in self.server.objects(self.namespace).items()
            if key[0] not in NOT_OURS and key != ("ServiceAccount", "default")
            and o.get("type") != "helm.sh/release.v1"
        }


def expected(profile: str, *sets: str) -> dict[tuple[str, str], dict]:
    return {
        (o["kind"], o["metadata"]["name"]): o for o in render(profile, *sets)
        if "helm.sh/hook" not in o["metadata"].get("annotations", {})
    }


def is_part(wanted: object, given: object) -> bool:
    """Whether everything wanted is given; the server adds defaults."""
    if isinstance(wanted, dict) and isinstance(given, dict):
        return all(key in given and is_part(value, given[key]) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(given, list):
        return len(wanted) == len(given) and all(map(is_part, wanted, given))
    return wanted == given or str(wanted) == str(given)


def state(objects: dict) -> dict:
    """What an object says, without the server's notes."""
    kept = {}
    for key, o in objects.items():
        metadata = {k: v for k, v in o["metadata"].items()
                    if k not in ("resourceVersion", "managedFields", "generation", "creationTimestamp", "uid")}
        kept[key] = {k: v for k, v in o.items() if k not in ("status", "metadata")} | {"metadata": metadata}
    return kept


class OnTheServer(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        if "EMET_TEST_NAMESPACES" in os.environ:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        cls.server = ApiServer(Path(directory.name))
        cls.addClassCleanup(cls.server.stop)
        for name in ("httproutes", "prometheusrules", "servicemonitors"):
            crd = yaml.load((ROOT / f"target/tools/crds/{name}.yaml").read_text(), yaml.CSafeLoader)
            cls.server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        cls.count = 0

    def release(self, profile: str) -> Release:
        type(self).count += 1
        return Release(self.server, profile, f"{profile}-{self.count}")

    def check(self, release: Release, *sets: str) -> None:
        """The namespace holds exactly what the chart renders, and the server dropped nothing of it."""
        wanted, given = expected(release.profile, *sets), release.objects()
        self.assertEqual(set(given), set(wanted))
        for key, o in wanted.items():
            for part in ("spec", "data", "rules"):
                # Secrets that the chart draws differ in each rendering.
                if part in o and key[0] != "Secret" and o["kind"] != "NetworkPolicy":
                    text = yaml.safe_dump(o[part]).replace(".emet.svc", f".{release.namespace}.svc")
                    text = text.replace("- emet\n", f"- {release.namespace}\n") if key[0] == "ServiceMonitor" else text
                    with self.subTest(key=key, part=part):
                        self.assertTrue(is_part(yaml.safe_load(text), given[key][part]), given[key][part])

    def test_install_upgrade_rollback_uninstall(self):
        for profile in PROFILES:
            with self.subTest(profile):
                release = self.release(profile)
                notes = release.apply("install")
                self.assertIn("emet doctor", notes)
                self.check(release)
                first = state(release.objects())

                release.apply("upgrade", *EVERYTHING[profile])
                self.check(release, *EVERYTHING[profile])
                second = state(release.objects())
                self.assertNotEqual(first, second)
                for key in (key for key in first if key[0] == "Secret"):
                    self.assertEqual(first[key]["data"], second[key]["data"], "an upgrade keeps drawn secrets")

                release.helm("rollback", "t", "1")
                self.assertEqual(state(release.objects()), first)

                release.helm("uninstall", "t")
                kept = {key for key, o in first.items()
                        if o["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"}
                self.assertEqual(set(release.objects()), kept)
                self.assertEqual(len(kept), 1 if profile == "dev" else 0)

    def test_what_was_kept_is_taken_up_again(self):
        release = self.release("dev")
        release.apply("install")
        key = ("Secret", "t-emet-dev-stores")
        before = release.objects()[key]["data"]
        release.helm("uninstall", "t")
        release.apply("install")
        self.assertEqual(release.objects()[key]["data"], before)

    def test_an_upgrade_over_more_than_one_minor_version_is_refused_before_anything_changes(self):
        release = self.release("dev")
        release.apply("install")
        before = state(release.objects())
        with tempfile.TemporaryDirectory() as directory:
            for version, taken in (("0.3.0", False), ("1.0.0", False), ("0.2.0", True), ("0.1.0", True)):
                chart = Path(directory) / version
                shutil.copytree(CHART, chart)
                about = (chart / "Chart.yaml").read_text()
                (chart / "Chart.yaml").write_text(re.sub("(?m)^appVersion: .*", f"appVersion: {version}", about))
                arguments = ("upgrade", "t", str(chart), "--values", str(chart / "profiles/dev.yaml"))
                with self.subTest(version):
                    if taken:
                        release.helm(*arguments)
                        images = {o["spec"]["template"]["spec"]["containers"][0]["image"]
                                  for (kind, name), o in release.objects().items()
                                  if kind in ("StatefulSet", "Deployment") and not name.endswith(("-redis", "-s3"))}
                        self.assertEqual(images, {f"emet:{version}"})
                    else:
                        with self.assertRaisesRegex(AssertionError, "more than one minor version"):
                            release.helm(*arguments)
                        self.assertEqual(state(release.objects()), before)

    def test_an_upgrade_without_changes_changes_nothing(self):
        for profile in PROFILES:
            release = self.release(profile)
            release.apply("install")
            before = {key: o["metadata"]["resourceVersion"] for key, o in release.objects().items()}
            release.apply("upgrade")
            after = {key: o["metadata"]["resourceVersion"] for key, o in release.objects().items()}
            self.assertEqual(before, after)

    def test_pods_are_admitted_where_only_restricted_pods_are(self):
        for profile in PROFILES:
            release = self.release(profile)
            release.apply("install")
            path = f"/api/v1/namespaces/{release.namespace}/pods?dryRun=All&fieldValidation=Strict"
            for name, spec in pods(render(profile)).items():
                claims = [{"name": "data", "emptyDir": {}}]
                volumes = spec.get("volumes", []) + ([] if name.startswith(("Deployment", "Pod")) else claims)
                names = {m["name"] for m in spec["containers"][0].get("volumeMounts", [])}
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
                       "spec": spec | {"volumes": [v for v in volumes if v["name"] in names]}}
                with self.subTest(profile, pod=name):
                    self.server.request("POST", path, pod)

    def test_the_namespace_does_refuse_pods_that_are_not_restricted(self):
        release = self.release("minimal")
        release.apply("install")
        spec = next(iter(pods(render("minimal")).values()))
        spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        spec["containers"][0]["volumeMounts"] = []
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec}
        with self.assertRaisesRegex(Exception, "violates PodSecurity"):
            self.server.request("POST", f"/api/v1/namespaces/{release.namespace}/pods?dryRun=All", pod)


if __name__ == "__main__":
    unittest.main()
