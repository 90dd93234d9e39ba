"""A Kubernetes in small: runs the pods of rendered manifests as real processes.

Each pod has its own network, mount and process namespaces, the root file system of its image (read-only where the
manifest says so), its user, its volumes at their paths, its environment, and an address. Names are resolved by a DNS
server, Services lead to pods that are ready, probes decide what is ready and what is restarted, and StatefulSets and
Deployments are rolled out pod by pod. Not enforced: seccomp, memory limits, network policies.

Everything lives in the namespaces of the calling process (run.py enters fresh ones), so nothing outlives it.
"""
