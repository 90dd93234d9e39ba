"""The chart is well-formed for helm, and its objects for Kubernetes."""
import functools
import re
import subprocess
import unittest

import jsonschema
import kubernetes_validate
import yaml

from chart import CHART, EVERYTHING, HELM, KUBERNETES, PROFILES, ROOT, render

CRDS = {"HTTPRoute": "httproutes", "PrometheusRule": "prometheusrules", "ServiceMonitor": "servicemonitors"}


@functools.lru_cache(maxsize=None)
def custom_schema(kind: str, version: str) -> dict:
    """The schema of a custom resource, from its definition; unknown keys refused."""
    definition = yaml.load((ROOT / f"target/tools/crds/{CRDS[kind]}.yaml").read_text(), yaml.CSafeLoader)
    served = {v["name"]: v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"]}
    schema = strict(served[version])
    # `metadata` is the API server's own.
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def strict(schema: object) -> object:
    if isinstance(schema, dict):
        closed = {key: strict(value) for key, value in schema.items()}
        if "properties" in closed and "additionalProperties" not in closed:
            closed["additionalProperties"] = False
        if isinstance(closed.get("pattern"), str):
            # Flags stand at the start in Python, and anywhere in Go.
            closed["pattern"] = re.sub(r"^\^\(\?i\)", "(?i)^", closed["pattern"])
        return closed
    return [strict(item) for item in schema] if isinstance(schema, list) else schema


def check(o: dict, kubernetes: str) -> None:
    if o["kind"] in CRDS:
        jsonschema.validate(o, custom_schema(o["kind"], o["apiVersion"].split("/")[1]))
    else:
        kubernetes_validate.validate(o, kubernetes, strict=True)


class Schemas(unittest.TestCase):
    def test_lint_finds_nothing(self):
        for profile in PROFILES:
            for sets in ((), EVERYTHING[profile]):
                with self.subTest(profile, sets=sets):
                    options = [part for one in sets for part in ("--set", one)]
                    run = subprocess.run(
                        [HELM, "lint", "--strict", CHART, "--kube-version", f"{KUBERNETES[-1]}.0",
                         "--values", CHART / f"profiles/{profile}.yaml", *options],
                        capture_output=True, text=True)
                    self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_objects_are_valid_in_the_oldest_and_newest_kubernetes(self):
        for profile in PROFILES:
            for sets in ((), EVERYTHING[profile]):
                for kubernetes in KUBERNETES:
                    for o in render(profile, *sets, kubernetes=kubernetes):
                        with self.subTest(profile, kubernetes=kubernetes, name=o["metadata"]["name"], kind=o["kind"]):
                            check(o, kubernetes)

    def test_the_check_refuses_unknown_keys_and_wrong_types(self):
        for kind, path, value in (
            ("StatefulSet", ("spec", "replica"), 1),
            ("StatefulSet", ("spec", "replicas"), "one"),
            ("ServiceMonitor", ("spec", "endpoint"), []),
            ("HTTPRoute", ("spec", "rules"), "all"),
            ("PrometheusRule", ("spec", "groups"), "all"),
        ):
            o = next(o for o in render("cluster", *EVERYTHING["cluster"]) if o["kind"] == kind)
            o[path[0]][path[1]] = value
            with self.subTest(kind, path=path), self.assertRaises(
                    (jsonschema.ValidationError, kubernetes_validate.ValidationError)):
                check(o, KUBERNETES[-1])

    def test_names_are_unique_and_short_enough(self):
        long = "fullnameOverride=" + "a-very-long-name-of-a-release-that-goes-on-and-on-for-ever"
        for profile in PROFILES:
            names = [(o["kind"], o["metadata"]["name"]) for o in render(profile, *EVERYTHING[profile], long)]
            self.assertEqual(len(names), len(set(names)))
            # Pods of a StatefulSet add an ordinal and, in labels, a hash; labels end at 63 characters.
            self.assertLessEqual(max(len(name) for _, name in names), 60)


if __name__ == "__main__":
    unittest.main()
