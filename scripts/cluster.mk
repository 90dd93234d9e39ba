# Tests on a cluster of real processes. Included by the top Makefile.
CLUSTER_TESTS = --test chaos --test managers --test partitions --test placement --test redis_settings
# End-to-end tests that are run on clusters.
CLUSTER_E2E ?= $(basename $(notdir $(wildcard tests/e2e/tests/*.rs)))

.PHONY: setup-cluster test-simulation test-chaos test-cluster test-cluster-e2e bench-cluster

# How many; `EMET_SIM_SEED=n` has one again.
SEEDS ?= 5000
test-simulation: ## The protocols of a cluster under simulated time and failures, with many seeds
	EMET_SIM_SEEDS=$(SEEDS) $(CARGO) test --workspace $(addprefix --test ,$(basename $(notdir $(wildcard tests/sim/tests/*.rs)))) -- --nocapture

setup-cluster: setup-stores ## What tests of clusters need: Redis, an S3 server, libfaketime, into target/tools
	@scripts/setup-faketime.sh

test-chaos: build setup-cluster ## A cluster of processes that are killed, stopped, cut off and replaced
	TMPDIR=$$(scripts/test-directory.sh) $(CARGO) test --workspace --no-fail-fast $(CLUSTER_TESTS) -- --nocapture

test-cluster: test-chaos test-cluster-e2e ## The same, and all tests of `emet server` on clusters

test-cluster-e2e: build setup-cluster ## All tests of `emet server` on clusters
	TMPDIR=$$(scripts/test-directory.sh) EMET_TEST_CLUSTER=1 $(CARGO) test --workspace --no-fail-fast $(addprefix --test ,$(CLUSTER_E2E))

# Redis and the S3 server keep their data in TMPDIR: on the disk that the others are measured on.
bench-cluster: setup setup-stores ## A cluster with 1, 2 and 3 executors beside `emet server` and Redis itself
	$(CARGO) build --release --workspace --bin emet --bin emet-bench
	TMPDIR=$(abspath target) $(TARGET_DIR)/release/emet-bench --only cluster $(BENCH_ARGS)
