"""What every pod of the chart owes its cluster, in every profile and with everything switched on."""
import ipaddress
import json
import re
import unittest

from chart import EVERYTHING, PROFILES, containers, find, pods, render

ALL = [(profile, sets) for profile in PROFILES for sets in ((), EVERYTHING[profile])]


CONTAINERS = [
    (f"{profile}: {name}", container)
    for profile, sets in ALL for name, container in containers(render(profile, *sets)).items()
]
PODS = [(f"{profile}: {name}", spec) for profile, sets in ALL for name, spec in pods(render(profile, *sets)).items()]


class Policy(unittest.TestCase):
    def test_no_container_has_rights(self):
        for name, container in CONTAINERS:
            with self.subTest(name):
                security = container["securityContext"]
                self.assertFalse(security["allowPrivilegeEscalation"])
                self.assertTrue(security["readOnlyRootFilesystem"])
                self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                self.assertFalse(security.get("privileged", False))

    def test_pods_run_as_a_user_without_names_in_the_host(self):
        for name, spec in PODS:
            with self.subTest(name):
                security = spec["securityContext"]
                self.assertTrue(security["runAsNonRoot"])
                self.assertGreater(security["runAsUser"], 0)
                self.assertGreater(security["runAsGroup"], 0)
                self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
                for key in ("hostNetwork", "hostPID", "hostIPC"):
                    self.assertFalse(spec.get(key, False))
                self.assertFalse([v for v in spec.get("volumes", []) if "hostPath" in v])

    def test_no_pod_can_speak_to_the_kubernetes_api(self):
        for name, spec in PODS:
            with self.subTest(name):
                self.assertIs(spec["automountServiceAccountToken"], False)
        for profile, sets in ALL:
            kinds = {o["kind"] for o in render(profile, *sets)}
            self.assertFalse(kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})

    def test_memory_is_limited_and_requests_are_set(self):
        # No CPU limits: they throttle a process that could use idle cores; requests share busy ones fairly.
        for name, container in CONTAINERS:
            with self.subTest(name):
                self.assertIn("memory", container["resources"]["limits"])
                self.assertLessEqual({"cpu", "memory"}, container["resources"]["requests"].keys())

    def test_servers_have_all_three_probes_and_liveness_is_the_most_patient(self):
        for name, container in CONTAINERS:
            with self.subTest(name):
                if ": Pod/" in name:
                    continue
                startup, ready, live = (container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness"))
                self.assertGreaterEqual(startup["periodSeconds"] * startup["failureThreshold"], 120)
                self.assertGreaterEqual(live["periodSeconds"] * live["failureThreshold"], 60)
                self.assertNotEqual(ready, live)
                ports = {port["name"] for port in container["ports"]}
                for probe in (startup, ready, live):
                    action = probe.get("httpGet") or probe.get("tcpSocket")
                    self.assertTrue(action is None or action["port"] in ports)

    def test_images_are_pinned(self):
        for name, container in CONTAINERS:
            with self.subTest(name):
                self.assertRegex(container["image"], r"(:[^:/]+|@sha256:[0-9a-f]{64})$")
                self.assertFalse(container["image"].endswith(":latest"))

    def test_secrets_reach_containers_by_reference_only(self):
        for name, container in CONTAINERS:
            with self.subTest(name):
                for variable in container.get("env", []):
                    if re.search("PASSWORD|SECRET_ACCESS_KEY|SECRET_KEY$|EMET_REDIS$|TOKEN$", variable["name"]):
                        self.assertIn("secretKeyRef", variable.get("valueFrom", {}), variable["name"])

    def test_every_server_has_a_network_policy_in_both_directions(self):
        for profile, sets in ALL:
            objects = render(profile, *sets)
            policies = [o["spec"] for o in objects if o["kind"] == "NetworkPolicy"]
            for o in objects:
                if o["kind"] not in ("StatefulSet", "Deployment"):
                    continue
                labels = o["spec"]["template"]["metadata"]["labels"]
                mine = [p for p in policies if p["podSelector"]["matchLabels"].items() <= labels.items()]
                with self.subTest(profile, name=o["metadata"]["name"]):
                    self.assertEqual(len(mine), 1)
                    self.assertEqual(mine[0]["policyTypes"], ["Ingress", "Egress"])

    def test_guests_cannot_reach_private_networks_or_the_metadata_service(self):
        for profile, role in (("minimal", "server"), ("cluster", "worker-executor"), ("dev", "worker-executor")):
            container = find(render(profile), "StatefulSet", role)["spec"]["template"]["spec"]["containers"][0]
            denied = [e["value"] for e in container["env"] if e["name"] == "EMET_NETWORK_DENY"][0].split(",")
            networks = [ipaddress.ip_network(network) for network in denied]
            for address in ("169.254.169.254", "10.96.0.1", "172.20.1.1", "192.168.1.1", "127.0.0.1", "100.64.0.1",
                            "::1", "fd00::1", "fe80::1"):
                self.assertTrue(any(ipaddress.ip_address(address) in network for network in networks), address)
            self.assertFalse(any(ipaddress.ip_address("203.0.113.1") in network for network in networks))

    def test_executors_never_get_to_the_metadata_service(self):
        for profile in ("minimal", "cluster", "dev"):
            role = "server" if profile == "minimal" else "worker-executor"
            egress = find(render(profile), "NetworkPolicy", role)["spec"]["egress"]
            self.assertNotIn({}, egress)
            blocks = [to["ipBlock"] for rule in egress for to in rule.get("to", []) if "ipBlock" in to]
            self.assertTrue(blocks)
            self.assertIn({"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}, blocks, json.dumps(blocks))


if __name__ == "__main__":
    unittest.main()
