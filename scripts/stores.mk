# The stores that a cluster shares, and the servers their tests need. Included by the top Makefile.

.PHONY: setup-stores test-stores

setup-stores: ## Redis and an S3 server for tests, into target/tools
	@scripts/setup-redis.sh
	@scripts/setup-s3.sh

test-stores: setup-stores ## Laws of the stores, on real servers that are killed in between
	$(CARGO) test --workspace --test suite
