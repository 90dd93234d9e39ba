"""What the templates make of the values."""
import json
import re
import unittest

import yaml

from chart import CHART, EVERYTHING, PROFILES, RenderError, environment, find, render, text

ROLES = {"shard-manager", "component-service", "worker-executor", "worker-service"}


def container(objects: list[dict], kind: str, name: str) -> dict:
    return find(objects, kind, name)["spec"]["template"]["spec"]["containers"][0]


def labels_of(o: dict) -> dict:
    return o["spec"]["template"]["metadata"]["labels"]


class Profiles(unittest.TestCase):
    def workloads(self, profile):
        return {
            f"{o['kind']} {o['metadata']['labels']['app.kubernetes.io/component']}"
            for o in render(profile) if o["kind"] in ("StatefulSet", "Deployment")
        }

    def test_each_profile_installs_its_roles(self):
        cluster = {"StatefulSet shard-manager", "StatefulSet worker-executor", "Deployment component-service",
                   "Deployment worker-service"}
        self.assertEqual(self.workloads("minimal"), {"StatefulSet server"})
        self.assertEqual(self.workloads("cluster"), cluster)
        self.assertEqual(self.workloads("dev"), cluster | {"StatefulSet redis", "StatefulSet s3"})

    def test_cluster_needs_its_stores(self):
        for missing in ("redis.existingSecret=", "s3.bucket="):
            with self.subTest(missing), self.assertRaisesRegex(RenderError, missing.split(".")[0]):
                text("cluster", missing)

    def test_data_outlives_the_release(self):
        for profile in PROFILES:
            for o in render(profile):
                if o["kind"] == "StatefulSet" and "volumeClaimTemplates" in o["spec"]:
                    self.assertEqual(o["spec"]["persistentVolumeClaimRetentionPolicy"],
                                     {"whenDeleted": "Retain", "whenScaled": "Retain"})

    def test_what_dev_generates_for_its_stores_is_kept_with_their_volumes(self):
        secret = find(render("dev"), "Secret", "dev-stores")
        self.assertEqual(secret["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"})


class ShardManagers(unittest.TestCase):
    def test_peers_are_the_pods_by_ordinal(self):
        for replicas in (1, 3, 5):
            objects = render("cluster", f"shardManager.replicas={replicas}")
            manager = find(objects, "StatefulSet", "shard-manager")
            service = manager["spec"]["serviceName"]
            first = manager["spec"]["ordinals"]["start"]
            expected = [
                f"{i}=http://t-emet-shard-manager-{i}.{service}.emet.svc.cluster.local:9002"
                for i in range(first, first + replicas)
            ]
            env = environment(container(objects, "StatefulSet", "shard-manager"))
            self.assertEqual(env["EMET_MANAGER_PEERS"].split(","), expected)
            self.assertEqual(env["EMET_MANAGER_ID"],
                             {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}})

    def test_members_find_each_other_before_they_are_ready(self):
        service = find(render("cluster"), "Service", "shard-manager")["spec"]
        self.assertEqual(service["clusterIP"], "None")
        self.assertTrue(service["publishNotReadyAddresses"])
        self.assertEqual(find(render("cluster"), "StatefulSet", "shard-manager")["spec"]["podManagementPolicy"],
                         "Parallel")

    def test_a_majority_survives_every_drain(self):
        for replicas in (3, 5):
            budget = find(render("cluster", f"shardManager.replicas={replicas}"), "PodDisruptionBudget", "shard-manager")
            self.assertEqual(budget["spec"]["maxUnavailable"], 1)


class Roles(unittest.TestCase):
    def test_services_lead_to_the_ports_of_their_pods(self):
        for profile in PROFILES:
            objects = render(profile)
            for service in (o for o in objects if o["kind"] == "Service"):
                selector = service["spec"]["selector"].items()
                chosen = [o for o in objects if o["kind"] in ("StatefulSet", "Deployment")
                          and selector <= labels_of(o).items()]
                with self.subTest(profile, service=service["metadata"]["name"]):
                    self.assertEqual(len(chosen), 1)
                    ports = {p["name"] for p in chosen[0]["spec"]["template"]["spec"]["containers"][0]["ports"]}
                    self.assertLessEqual({p["targetPort"] for p in service["spec"]["ports"]}, ports)

    def test_urls_in_the_environment_lead_to_services(self):
        for profile in PROFILES:
            objects = render(profile)
            services = {o["metadata"]["name"]: {p["port"] for p in o["spec"]["ports"]}
                        for o in objects if o["kind"] == "Service"}
            found = re.findall(r"https?://(?:[\w-]+\.)??([\w-]+)\.emet\.svc\.cluster\.local(?::(\d+))?", text(profile))
            self.assertTrue(found)
            for name, port in found:
                self.assertIn(int(port or 80), services[name])

    def test_autoscaled_roles_leave_the_number_of_replicas_to_the_autoscaler(self):
        objects = render("cluster", *EVERYTHING["cluster"])
        scaled = [o["spec"]["scaleTargetRef"] for o in objects if o["kind"] == "HorizontalPodAutoscaler"]
        self.assertEqual(len(scaled), 3)
        for target in scaled:
            self.assertNotIn("replicas", find(objects, target["kind"], target["name"])["spec"])

    def test_updates_take_nothing_away_before_its_successor_is_ready(self):
        for name in ("worker-service", "component-service"):
            self.assertEqual(find(render("cluster"), "Deployment", name)["spec"]["strategy"]["rollingUpdate"],
                             {"maxUnavailable": 0, "maxSurge": 1})

    def test_the_grace_period_covers_leaving_the_service_and_draining(self):
        for name, key in (("worker-service", "workerService"), ("component-service", "componentService")):
            for grace in (30, 90):
                objects = render("cluster", f"{key}.terminationGracePeriodSeconds={grace}")
                pod = find(objects, "Deployment", name)["spec"]["template"]["spec"]
                leave = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
                drain = int(environment(pod["containers"][0])["EMET_DRAIN_WITHIN"])
                self.assertEqual(pod["terminationGracePeriodSeconds"], grace)
                self.assertGreaterEqual(drain, grace - leave - 5)
                self.assertLess(leave + drain, grace)

    def test_the_grace_period_of_executors_covers_the_hand_over(self):
        with self.assertRaisesRegex(RenderError, "20 more than leaveWithinSeconds"):
            text("cluster", "workerExecutor.leaveWithinSeconds=101")
        text("cluster", "workerExecutor.leaveWithinSeconds=100")

    def test_mutual_tls_changes_every_address_between_services(self):
        objects = render("cluster", "peers.tls.existingSecret=emet-peer-tls")
        for kind, name in (("StatefulSet", "shard-manager"), ("StatefulSet", "worker-executor"),
                           ("Deployment", "worker-service")):
            one = container(objects, kind, name)
            addresses = [v for k, v in environment(one).items() if isinstance(v, str) and ("9002" in v or "9090" in v)
                         and "://" in v]
            self.assertTrue(addresses)
            self.assertNotIn("http://", " ".join(addresses))
            self.assertIn("/etc/emet/peer-tls", [m["mountPath"] for m in one["volumeMounts"]])

    def test_redis_over_tls_gives_certificates_to_the_roles_that_use_it(self):
        url = ("redis.existingSecret=", "redis.url=rediss://redis:6380/0", "redis.tls.existingSecret=emet-redis-tls")
        for more, files in ((), {"CA"}), (("redis.tls.clientCertificate=true",), {"CA", "CERT", "KEY"}):
            objects = render("cluster", *url, *more)
            for kind, name in (("Deployment", "component-service"), ("StatefulSet", "worker-executor"),
                               ("Deployment", "worker-service")):
                one = container(objects, kind, name)
                self.assertEqual({k for k in environment(one) if k.startswith("EMET_REDIS_") and k.endswith("_FILE")},
                                 {f"EMET_REDIS_{file}_FILE" for file in files})
                self.assertIn("/etc/emet/redis-tls", [m["mountPath"] for m in one["volumeMounts"]])
            manager = find(objects, "StatefulSet", "shard-manager")["spec"]["template"]["spec"]
            self.assertNotIn("redis-tls", [v["name"] for v in manager["volumes"]])

    def test_a_changed_setting_restarts_pods_and_a_new_chart_version_alone_does_not(self):
        before, after = render("cluster"), render("cluster", "log.level=debug")
        for name in ("shard-manager", "worker-executor"):
            templates = [find(o, "StatefulSet", name)["spec"]["template"]["metadata"] for o in (before, after)]
            self.assertNotEqual(templates[0]["annotations"], templates[1]["annotations"])
            self.assertFalse(any(k in templates[0]["labels"] for k in ("helm.sh/chart", "app.kubernetes.io/version")))

    def test_selectors_hold_only_what_never_changes(self):
        for o in render("cluster", "commonLabels.team=blue", "workerService.podLabels.a=b"):
            if o["kind"] in ("StatefulSet", "Deployment"):
                self.assertEqual(o["spec"]["selector"]["matchLabels"].keys(), {
                    "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"})
                self.assertEqual(labels_of(o)["team"], "blue")

    def test_extra_environment_and_scheduling_reach_the_pod(self):
        for role, kind in (("shardManager", "StatefulSet"), ("workerService", "Deployment")):
            objects = render("cluster", f"{role}.extraEnv[0].name=A", f"{role}.extraEnv[0].value=b",
                             f"{role}.nodeSelector.disk=ssd", f"{role}.tolerations[0].key=k",
                             f"{role}.priorityClassName=high")
            name = re.sub("([A-Z])", r"-\1", role).lower()
            pod = find(objects, kind, name)["spec"]["template"]["spec"]
            self.assertEqual(environment(pod["containers"][0])["A"], "b")
            self.assertEqual((pod["nodeSelector"], pod["tolerations"], pod["priorityClassName"]),
                             ({"disk": "ssd"}, [{"key": "k"}], "high"))

    def test_replicas_are_spread_over_zones_and_nodes(self):
        for kind, name in (("StatefulSet", "shard-manager"), ("StatefulSet", "worker-executor"),
                           ("Deployment", "worker-service"), ("Deployment", "component-service")):
            o = find(render("cluster"), kind, name)
            spread = o["spec"]["template"]["spec"]["topologySpreadConstraints"]
            self.assertEqual([c["topologyKey"] for c in spread],
                             ["topology.kubernetes.io/zone", "kubernetes.io/hostname"])
            for constraint in spread:
                self.assertEqual(constraint["labelSelector"]["matchLabels"], o["spec"]["selector"]["matchLabels"])


class Reach(unittest.TestCase):
    def test_ingress_and_route_lead_to_the_api(self):
        for profile, api in (("minimal", "server"), ("cluster", "worker-service")):
            objects = render(profile, *EVERYTHING[profile])
            service = find(objects, "Service", api)
            backend = find(objects, "Ingress", "emet")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
            self.assertEqual(backend, {"name": service["metadata"]["name"], "port": {"name": "http"}})
            rule = find(objects, "HTTPRoute", "emet")["spec"]["rules"][0]
            self.assertEqual(rule["backendRefs"], [{"name": service["metadata"]["name"], "port": 80}])

    def test_only_the_api_is_open_and_grpc_only_to_those_who_call_it(self):
        objects = render("cluster")
        callers = {}
        for role in ROLES:
            for rule in find(objects, "NetworkPolicy", role)["spec"]["ingress"]:
                if rule["ports"][0]["port"] == "grpc":
                    callers[role] = {f["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for f in rule["from"]}
                else:
                    self.assertEqual("from" in rule, rule["ports"][0]["port"] != "http")
        self.assertEqual(callers, {
            "shard-manager": {"shard-manager", "worker-executor", "worker-service"},
            "worker-executor": {"worker-executor", "worker-service"},
            "component-service": {"worker-executor", "worker-service"},
        })

    def test_every_allowed_caller_may_also_send(self):
        objects = render("dev")
        policies = {o["metadata"]["labels"]["app.kubernetes.io/component"]: o["spec"]
                    for o in objects if o["kind"] == "NetworkPolicy"}
        peers = lambda rules, key: {  # noqa: E731
            p["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            for rule in rules for p in rule.get(key, []) if "podSelector" in p}
        for callee, spec in policies.items():
            for caller in peers(spec["ingress"], "from"):
                self.assertIn(callee, peers(policies[caller].get("egress", []), "to"), f"{caller} to {callee}")

    def test_the_test_hook_may_call_a_restricted_api(self):
        objects = render("cluster", "networkPolicy.apiFrom[0].namespaceSelector.matchLabels.web=yes")
        allowed = find(objects, "NetworkPolicy", "worker-service")["spec"]["ingress"][0]["from"]
        hook = find(objects, "Pod", "test")
        self.assertEqual(hook["metadata"]["annotations"]["helm.sh/hook"], "test")
        self.assertTrue(any(
            f.get("podSelector", {}).get("matchLabels", {"no": "match"}).items() <= hook["metadata"]["labels"].items()
            for f in allowed))

    def test_metrics_of_every_role_are_scraped(self):
        objects = render("cluster", "metrics.serviceMonitor.enabled=true")
        monitor = find(objects, "ServiceMonitor", "emet")["spec"]
        services = [o for o in objects if o["kind"] == "Service"
                    and monitor["selector"]["matchLabels"].items() <= o["metadata"]["labels"].items()]
        self.assertEqual(len(services), len(ROLES))
        for service in services:
            self.assertIn(monitor["endpoints"][0]["port"], [p["name"] for p in service["spec"]["ports"]])
        # Prometheus knows a label of a Service under this name.
        [relabeling] = monitor["endpoints"][0]["relabelings"]
        self.assertEqual(relabeling["sourceLabels"], ["__meta_kubernetes_service_label_app_kubernetes_io_component"])
        self.assertIn("app.kubernetes.io/component", services[0]["metadata"]["labels"])

    def test_dashboards_are_json_and_labelled_for_the_sidecar(self):
        dashboards = find(render("cluster", "metrics.dashboards.enabled=true"), "ConfigMap", "dashboards")
        self.assertEqual(dashboards["metadata"]["labels"]["grafana_dashboard"], "1")
        self.assertTrue(dashboards["data"])
        for data in dashboards["data"].values():
            self.assertTrue(json.loads(data)["panels"])


class Values(unittest.TestCase):
    def test_unknown_and_senseless_values_are_refused(self):
        for wrong in ("profil=dev", "workerExecutor.replica=3", "shardManager.replicas=2", "server.replicas=2",
                      "image.tag=latest", "redis.url=redis://user:password@host", "telemetry.otlpEndpoint=collector",
                      "workerService.resources.limits.cpu=many", "telemetry.otlpEndpoint=https://collector:4317",
                      "workerService.terminationGracePeriodSeconds=10", "guestNetwork.deny[0]=everything",
                      "ingress.enable=true", "profile=production", "server.resources.limits=null"):
            with self.subTest(wrong), self.assertRaises(RenderError):
                text("dev", wrong)

    def test_every_object_of_the_schema_is_closed(self):
        def check(schema, path):
            if isinstance(schema, dict):
                if schema.get("type") == "object" and "properties" in schema:
                    self.assertIn("additionalProperties", schema, path)
                for key, value in schema.items():
                    check(value, f"{path}/{key}")
        check(json.loads((CHART / "values.schema.json").read_text()), "")

    def test_schema_and_values_name_the_same_keys(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())

        def compare(schema_, value, path):
            reference = schema_.get("$ref")
            node = schema["definitions"][reference.rsplit("/", 1)[1]] if reference else schema_
            if not isinstance(value, dict) or "properties" not in node or path.endswith((".requests", ".limits")):
                return
            self.assertEqual(set(node["properties"]) - {"global"}, set(value), path)
            for key, inner in value.items():
                compare(node["properties"][key], inner, f"{path}.{key}")
        compare(schema, values, "")

    def test_the_readme_documents_every_top_level_value(self):
        readme = (CHART / "README.md").read_text()
        for key in yaml.safe_load((CHART / "values.yaml").read_text()):
            self.assertRegex(readme, f"`{key}[.`]")


if __name__ == "__main__":
    unittest.main()
