#!/usr/bin/env bash
# run_fuzzers.sh [SECONDS]: runs each fuzz target from its corpus (default 60 s each). Fails on a finding, which then lies in build/fuzz/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
mkdir -p build/fuzz/findings
# Freed memory that ASan keeps back is not the program's.
export ASAN_OPTIONS=quarantine_size_mb=32
# The words of the files, from the schemas, with and without quotes.
words=build/fuzz/words.dict
grep -ohE '"[A-Za-z_0-9]+"' schemas/*.schema.json | sort -u | sed -E 's/"(.*)"/"\1"\n"\\"\1\\""/' >"$words"
for target in model_config weight_config overlay; do
  scratch=build/fuzz/scratch/$target  # new inputs; the checked-in corpus stays as it is
  log=build/fuzz/$target.log
  mkdir -p "$scratch"
  echo "fuzzing $target for $seconds s"
  # timeout: what takes 0.2 s in a release build takes 10 s under the sanitizers, and more on a busy machine.
  # len_control=0: whole configs are changed from the start, because a config that is cut short is none.
  if ! build/fuzz/tests/fuzz/fuzz_$target -max_total_time="$seconds" -timeout=120 -rss_limit_mb=1024 -malloc_limit_mb=256 -max_len=20000 \
    -len_control=0 -dict="$words" -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$target-" \
    "$scratch" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "a finding in $target: the input is in build/fuzz/findings" >&2
    exit 1
  fi
  grep -E "stat::(number_of_executed_units|peak_rss_mb)" "$log"
done
