# Emet. `make help` lists the targets.
CARGO ?= cargo
BENCH_ARGS ?=
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help setup build demo test verify fix bench test-checkpoints test-schemathesis test-golem-cli
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## Checks (and says how to get) what a fresh Debian machine with Rust lacks
	@scripts/setup.sh

build: setup ## The `emet` binary, as `make demo` and `make test` use it
	$(CARGO) build --workspace

demo: build ## Upload, invoke, kill -9 in the middle, go on
	@scripts/demo.sh $(TARGET_DIR)/debug/emet

test: build setup-stores ## All tests
	$(CARGO) test --workspace

# All tests of the server as a whole, and of crashes at every append.
WHOLE_TESTS = $(addprefix --test ,$(basename $(notdir $(wildcard tests/e2e/tests/*.rs tests/crash/tests/*.rs))))
test-checkpoints: build ## End-to-end and crash tests with checkpoints off, on, and after every invocation
	for mode in off on always; do \
	  echo "checkpoints: $$mode"; \
	  EMET_CHECKPOINTS=$$mode $(CARGO) test --workspace --no-fail-fast $(WHOLE_TESTS) || exit 1; \
	done

test-schemathesis: build ## Fuzz the API against its OpenAPI document (PyPI, once)
	scripts/test-schemathesis.sh $(TARGET_DIR)/debug/emet

test-golem-cli: build ## Drive an unmodified golem-cli 1.1 (built once: very long)
	scripts/test-golem-cli.sh $(TARGET_DIR)/debug/emet

bench: setup ## Every figure beside its yardstick, into target/bench.json; BENCH_ARGS="--only calls --quick"
	$(CARGO) build --release --workspace --bin emet --bin emet-bench
	$(TARGET_DIR)/release/emet-bench $(BENCH_ARGS)

verify: build setup-stores ## Format, lints, tests; changes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace

fix: ## Formats, and mends what lints can mend
	$(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

include scripts/guests.mk
include scripts/stores.mk
include scripts/cluster.mk
include scripts/helm.mk
