#!/usr/bin/env bash
# run_tests.sh PRESET [ctest arguments]: runs the suite and ends with one line "N passed, M failed". The exit code is ctest's.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
ctest --preset "$preset" -j"$(nproc)" "$@" 2>&1 | tee "$log" || status=$?

# ctest's summary: "97% tests passed, 1 tests failed out of 40". It counts a skipped test as passed and leaves disabled ones out.
summary=$(sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests failed out of ([0-9]+)$/\1 \2/p' "$log" | tail -n 1)
read -r failed total <<<"${summary:-0 0}"
skipped=$(grep -cE '^[[:space:]]+[0-9]+ - .* \(Skipped\)$' "$log" || true)
disabled=$(grep -cE '^[[:space:]]+[0-9]+ - .* \(Disabled\)$' "$log" || true)
line="$((total - failed - skipped)) passed, $failed failed"
[ $((skipped + disabled)) -eq 0 ] || line+=", $((skipped + disabled)) skipped"
echo "$line"
exit "$status"
