#!/usr/bin/env bash
# The three stages as three programs that share only files: run_stages.sh BINARY_FOLDER CHECKPOINT
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/config_only"
cp "$2/config.json" "$work/config_only/"
"$1/configure_alone" "$work/config_only" "$work/prefill.json" "$work/decode.json"
cp -r "$2" "$work/checkpoint"
"$1/convert_alone" "$work/checkpoint" "$work/store"
rm -rf "$work/checkpoint"
"$1/run_alone" "$work/store" "$work/prefill.json" "$work/decode.json"
