#!/usr/bin/env bash
# run_over_mpi.sh MPIRUN MESHSEEK CHECKPOINT: ranks of a launcher give the tokens that one process gives.
set -euo pipefail
mpirun=$1 meshseek=$2 checkpoint=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MESHSEEK_CACHE=$work/cache ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"  # OpenMPI unloads what it leaked
generate=(run "$checkpoint" --ids 1,2,3,4,5,6,7,8,9,10 -n 12 --ignore-eos --dtype float32 --json)
launch() { timeout 120 "$mpirun" --allow-run-as-root --oversubscribe "$@"; }
ids() { sed -nE 's/^ *"ids": (.*),$/\1/p' "$1"; }

"$meshseek" "${generate[@]}" >"$work/alone.json" 2>/dev/null
[[ -n $(ids "$work/alone.json") ]]
for devices in "1x2 users" "2x2 users" "2x1 pipeline" "2x2 pipeline"; do
  read -r mesh plan <<<"$devices"
  launch -n $((${mesh%x*} * ${mesh#*x})) "$meshseek" "${generate[@]}" --mesh "$mesh" --plan "$plan" --threads 1 >"$work/ranks.json" 2>"$work/err" ||
    { echo "mesh $mesh, $plan: exit code $?: $(cat "$work/err")" >&2; exit 1; }
  diff <(ids "$work/alone.json") <(ids "$work/ranks.json")
done
