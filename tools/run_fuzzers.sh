#!/usr/bin/env bash
# run_fuzzers.sh [SECONDS]: runs each fuzz target from its corpus (default 60 s each), two at a time where there are two cores.
# Fails on a finding, which then lies in build/fuzz/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
jobs=$(($(nproc) >= 2 ? 2 : 1))
mkdir -p build/fuzz/findings
# Freed memory that ASan keeps back is not the program's.
export ASAN_OPTIONS=quarantine_size_mb=32
# The words of the files, from the schemas, with and without quotes.
words=build/fuzz/words.dict
grep -ohE '"[A-Za-z_0-9]+"' schemas/*.schema.json | sort -u | sed -E 's/"(.*)"/"\1"\n"\\"\1\\""/' >"$words"

# fuzz TARGET [OPTION...]: one fuzzer, until the time is over or it finds something.
fuzz() {
  local target=$1 scratch=build/fuzz/scratch/$1  # new inputs; the checked-in corpus stays as it is
  mkdir -p "$scratch"
  # timeout: what takes 0.2 s in a release build takes 10 s under the sanitizers, and more on a busy machine.
  # len_control=0: whole files are changed from the start, because a file that is cut short is none.
  exec build/fuzz/tests/fuzz/fuzz_"$target" -max_total_time="$seconds" -timeout=120 -rss_limit_mb=1024 -malloc_limit_mb=256 -max_len=20000 \
    -len_control=0 -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$target-" "${@:2}" \
    "$scratch" "tests/fuzz/corpus/$target" >"build/fuzz/$target.log" 2>&1
}

declare -A running=()  # targets by process id
failed=0
trap '[[ ${#running[@]} == 0 ]] || kill "${!running[@]}" 2>/dev/null' EXIT

# Waits for one fuzzer and tells how it ended.
finish_one() {
  local pid status=0 target log input
  wait -n -p pid "${!running[@]}" || status=$?
  target=${running[$pid]}
  log=build/fuzz/$target.log
  unset "running[$pid]"
  if [[ $status != 0 ]]; then
    tail -n 40 "$log" >&2
    input=$(sed -nE 's/.*Test unit written to (.*)/\1/p' "$log" | tail -n 1)
    echo "a finding in $target: the input is ${input:-in build/fuzz/findings}; build/fuzz/tests/fuzz/fuzz_$target FILE repeats it" >&2
    failed=1
    return
  fi
  stat() { sed -nE "s/^stat::$1: +//p" "$log"; }
  echo "$target: $(stat number_of_executed_units) executions, peak RSS $(stat peak_rss_mb) MB"
}

# start TARGET [OPTION...]: as soon as there is a place for it.
start() {
  while ((${#running[@]} >= jobs)); do finish_one; done
  echo "fuzzing $1 for $seconds s"
  fuzz "$@" &
  running[$!]=$1
}

start model_config -dict="$words"
start weight_config -dict="$words"
start overlay -dict="$words"
start safetensors
start tensor_file
start manifest
start tokenizer -dict=tests/fuzz/tokenizer.dict
while ((${#running[@]} > 0)); do finish_one; done
exit "$failed"
