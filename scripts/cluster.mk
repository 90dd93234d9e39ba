# Tests on a cluster of real processes. Included by the top Makefile.

.PHONY: test-cluster bench-cluster

test-cluster: build setup-stores ## A cluster of processes: placement, chaos, and the tests of `emet server`
	$(CARGO) test --workspace --test chaos --test placement -- --nocapture
	EMET_TEST_CLUSTER=1 $(CARGO) test --workspace $(patsubst tests/e2e/tests/%.rs,--test %,$(wildcard tests/e2e/tests/*.rs))

bench-cluster: setup setup-stores ## A cluster with 1, 2 and 3 executors beside `emet server` and Redis itself
	$(CARGO) build --release --workspace --bin emet --bin emet-bench
	$(TARGET_DIR)/release/emet-bench --only cluster $(BENCH_ARGS)
