# Tests on a cluster of real processes. Included by the top Makefile.

.PHONY: test-cluster

# Every test starts a cluster of its own, of some twelve processes: few at a time.
CLUSTER_THREADS ?= 2

test-cluster: build setup-stores ## A cluster of processes: placement, chaos, and the tests of `emet server`
	$(CARGO) test -p emet-test-cluster -- --test-threads $(CLUSTER_THREADS) --nocapture
	EMET_TEST_CLUSTER=1 $(CARGO) test -p emet-e2e -- --test-threads $(CLUSTER_THREADS)
