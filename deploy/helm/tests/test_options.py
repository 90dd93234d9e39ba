"""The chart and the binary agree: on the names of options and commands, and on metrics."""
import json
import re
import unittest

import yaml

from binary import help_of, variables
from chart import CHART, EVERYTHING, PROFILES, ROOT, containers, environment, find, render


class Options(unittest.TestCase):
    def test_every_variable_is_one_that_its_role_reads(self):
        for profile in PROFILES:
            objects = render(profile, *EVERYTHING[profile])
            settings = find(objects, "ConfigMap", "t-emet")["data"]
            for name, container in containers(objects).items():
                if not container["image"].startswith("emet:"):
                    continue
                given = environment(container).keys() | (settings if "envFrom" in container else {}).keys()
                ours = {variable for variable in given if variable.startswith("EMET_")}
                with self.subTest(profile, container=name):
                    self.assertEqual(ours - variables(*container["args"]), set())

    def test_what_a_role_requires_is_given(self):
        for container in containers(render("cluster")).values():
            usage = re.search(r"^Usage: (.+)$", help_of(*container["args"]), re.M)[1]
            required = set(re.findall(r"(?<!\[)--([\w-]+) <", re.sub(r"\[[^]]*\]", "", usage)))
            options = dict(re.findall(r"--([\w-]+) <[^>]+>(?:\.\.\.)?\s.*?\[env: (\w+)=", help_of(*container["args"]), re.S))
            missing = {option for option in required if options.get(option) not in environment(container)}
            self.assertEqual(missing, set(), container["name"])

    def test_commands_of_the_manual_exist(self):
        manual = (ROOT / "docs/operations/kubernetes.md").read_text()
        commands = {tuple(c.split()) for c in re.findall(r"/usr/bin/emet ([a-z-]+ [a-z-]+)", manual)}
        self.assertTrue(commands)
        for command in commands:
            self.assertIn("Usage:", help_of(*command))


class Metrics(unittest.TestCase):
    def test_dashboard_alerts_and_manual_name_metrics_that_exist(self):
        sources = "".join(p.read_text() for top in ("libs", "services") for p in (ROOT / top).rglob("src/**/*.rs"))
        names = set()
        for dashboard in (CHART / "dashboards").glob("*.json"):
            for panel in json.loads(dashboard.read_text())["panels"]:
                for target in panel["targets"]:
                    names |= set(re.findall(r"\bemet_\w+", target["expr"]))
        alerts = [rule["expr"] for group in yaml.safe_load((CHART / "rules/emet.yaml").read_text())["groups"]
                  for rule in group["rules"]]
        names |= set(re.findall(r"\bemet_\w+", "".join(alerts)))
        names |= set(re.findall(r"\bemet_\w+", (ROOT / "docs/operations/kubernetes.md").read_text()))
        self.assertGreater(len(names), 10)
        missing = {n for n in names if f'"{re.sub("_(bucket|sum|count)$", "", n)}"' not in sources}
        self.assertEqual(missing, set())


if __name__ == "__main__":
    unittest.main()
