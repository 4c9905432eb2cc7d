#!/usr/bin/env bash
# run_on_old_cpu.sh MESHSEEK CHECKPOINT CPU ISA: converts and runs on an emulated CPU. No instruction may be unknown to it, and the tokens
# are those of the same kernels on this machine (their sums are the same bits).
set -euo pipefail
meshseek=$1 checkpoint=$2 cpu=$3 isa=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v qemu-x86_64 >/dev/null || { echo "qemu-x86_64 is missing; install the package qemu-user (tools/packages.txt)" >&2; exit 1; }
generate=(run "$checkpoint" --ids 1,2,3,4,5,6,7,8,9,10 -n 12 --ignore-eos --json)
ids() { sed -nE 's/^ *"ids": (.*),$/\1/p' "$1"; }

MESHSEEK_CACHE=$work/emulated qemu-x86_64 -cpu "$cpu" "$meshseek" "${generate[@]}" >"$work/emulated.json" 2>"$work/emulated.err" ||
  { echo "$cpu: exit code $?: $(cat "$work/emulated.err")" >&2; exit 1; }
MESHSEEK_CACHE=$work/native MESHSEEK_FORCE_ISA=$isa "$meshseek" "${generate[@]}" >"$work/native.json" 2>/dev/null
[[ -n $(ids "$work/native.json") ]]
diff <(ids "$work/emulated.json") <(ids "$work/native.json")
# A store has the same bytes whatever the encoder ran on.
sums() { (cd "$1" && find . -name '*.tensorbin' -exec sha256sum {} + | sort -k 2); }
[[ -n $(sums "$work/native") ]]
diff <(sums "$work/emulated") <(sums "$work/native")

# What the CPU lacks is refused in words, not by a signal.
for lacking in avx512 amx; do
  status=0
  MESHSEEK_CACHE=$work/emulated MESHSEEK_FORCE_ISA=$lacking qemu-x86_64 -cpu "$cpu" "$meshseek" "${generate[@]}" >/dev/null 2>"$work/refused" || status=$?
  [[ $status == 1 ]]
  grep -q "\[MESHSEEK_FORCE_ISA\] \"$lacking\"" "$work/refused"
done
