#!/usr/bin/env bash
# The copies of test data in the repository against their source: compare_shared_data.sh (MESHSEEK_SHARED, default ../shared). Exit 1 on any difference.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${MESHSEEK_SHARED:-../shared}/data
[ -d "$shared" ] || { echo "[MESHSEEK_SHARED] $shared is no folder; expected the source of tests/data" >&2; exit 1; }
status=0
compare() {  # compare COPY SOURCE: every file of the copy is in the source, byte for byte
  local count=0
  while IFS= read -r -d '' file; do
    cmp -s "$file" "$2/${file#"$1"/}" || { echo "differs: $file" >&2; status=1; }
    count=$((count + 1))
  done < <(find "$1" -type f -print0)
  echo "$1: $count files compared"
}
for part in checkpoints unit ttnn templates models; do compare "tests/data/$part" "$shared/$part"; done
compare tests/data/tokenizers/deepseek-v3 "$shared/tokenizers/deepseek-v3"
compare tests/data/tokenizers/goldens "$shared/tokenizers/goldens"
compare models/tiny-shakespeare "$shared/models/tiny-shakespeare"
exit "$status"
