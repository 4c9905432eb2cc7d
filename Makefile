# On a fresh Debian bookworm machine `make demo` and `make test` do all set-up by themselves.
MODEL ?= models/tiny-shakespeare
PROMPT ?= HAMLET.\nTo be, or not to be
FUZZ_SECONDS ?= 60
BENCH_FILTER ?= v2-lite
JOBS ?= $(shell nproc)
MESHSEEK := build/release/src/meshseek
CLANG_FORMAT ?= $(firstword $(foreach name,clang-format-19 clang-format,$(shell command -v $(name))))
CLANG_TIDY ?= $(firstword $(foreach name,clang-tidy-19 clang-tidy,$(shell command -v $(name))))
SOURCES = $(shell find src reference tests examples tools -name '*.cpp' -o -name '*.hpp')
# The demo's recipe reads the prompt from the environment, so that quotes in it need no care; \n is a line break.
export PROMPT

.DEFAULT_GOAL := help
.PHONY: help setup build demo bench bench-ops test test-long test-asan test-ubsan test-tsan fuzz docs format tidy clean

help:  ## this list
	@sed -nE 's/^([a-z][a-z -]*):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 38

setup:  ## install the missing Debian packages (asks for sudo only then)
	@tools/install_packages.sh

build: configure-release  ## build everything in release mode into build/release
	@cmake --build --preset release -j $(JOBS)

demo: configure-release  ## build, then continue PROMPT with MODEL
	@cmake --build --preset release -j $(JOBS) --target meshseek
	@$(MESHSEEK) run $(MODEL) -p "$$(printf '%b' "$$PROMPT")"

test: build  ## build, then run the whole test suite
	@tools/run_tests.sh release

# Times and figures mean nothing under sanitizers: tests of these that take minutes there are left out, their code has others.
NOT_SANITIZED := -LE timing -E 'QuantisedModel\..*Fidelities|HeldOutPerplexity|AKilledConversion|Bench\.(Batches|ComputeTime|Experts|TheBreakdown)'
test-asan test-ubsan test-tsan: test-%: configure-%  ## the suite under address+undefined, undefined, thread sanitizers
	@cmake --build --preset $* -j $(JOBS)
	@tools/run_tests.sh $* $(NOT_SANITIZED)

fuzz: setup  ## fuzz the readers of files for FUZZ_SECONDS (60) each; needs clang-19
	@tools/install_packages.sh packages-fuzz.txt
	@cmake --preset fuzz --log-level=WARNING
	@cmake --build --preset fuzz -j $(JOBS)
	@tools/run_fuzzers.sh $(FUZZ_SECONDS)

bench: configure-release  ## measure a bounded set against this machine, into build/bench.md
	@cmake --build --preset release -j $(JOBS) --target meshseek
	@$(MESHSEEK) bench --synthetic v2-lite --num-layers 4 --pp 128,512 --tg 32 --depth 0,512 --breakdown --md | tee build/bench.md

bench-ops: configure-release  ## measure operators one by one (Google Benchmark); BENCH_FILTER=v2-lite.wq chooses
	@cmake --build --preset release -j $(JOBS) --target meshseek_bench_ops
	@build/release/bench/meshseek_bench_ops --benchmark_filter='$(BENCH_FILTER)'

test-long:  ## compare the test data of the repository with its source in MESHSEEK_SHARED (default ../shared)
	@tools/compare_shared_data.sh

docs: configure-release  ## write docs/op_configs.md and schemas/ from the fields() lists
	@cmake --build --preset release -j $(JOBS) --target generate_reference
	@build/release/tests/generate_reference .

configure-%: setup
	@cmake --preset $* --log-level=WARNING

format:  ## apply .clang-format to every source file
	@test -n "$(CLANG_FORMAT)" || { echo "[format] there is no clang-format; install the package clang-format" >&2; exit 1; }
	@$(CLANG_FORMAT) -i $(SOURCES)

tidy: configure-dev  ## run clang-tidy over every source file
	@test -n "$(CLANG_TIDY)" || { echo "[tidy] there is no clang-tidy; install the package clang-tidy" >&2; exit 1; }
	@find src reference tests -name '*.cpp' -print0 | xargs -0 -n 4 -P $(JOBS) $(CLANG_TIDY) --quiet -p build/dev

clean:  ## remove everything that was built
	@rm -rf build
