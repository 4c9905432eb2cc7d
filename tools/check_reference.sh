#!/usr/bin/env bash
# check_reference.sh GENERATOR: fails when docs/op_configs.md or schemas/ are not what the generator writes.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$1" "$fresh"
status=0
for file in docs/op_configs.md $(cd "$fresh" && ls schemas/*.schema.json); do
  diff -u "$file" "$fresh/$file" || status=1
done
[ $status -eq 0 ] || echo "generated files differ from the fields() lists; run \`make docs\` and commit"
exit $status
