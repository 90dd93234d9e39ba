# Tests on a cluster of real processes. Included by the top Makefile.

.PHONY: test-cluster

test-cluster: build setup-stores ## A cluster of processes: placement, chaos, and the tests of `emet server`
	$(CARGO) test -p emet-test-cluster --test chaos --test placement -- --nocapture
	EMET_TEST_CLUSTER=1 $(CARGO) test -p emet-e2e
