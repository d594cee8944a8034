#!/usr/bin/env bash
# Measures which branches of pipeline/ its tests take, in every process that they start, and fails below
# 95 % of them. Files run one by one, so that what a process did is known by the file that started it:
# scripts/mutants.py needs that. What a file has given is kept until it, or pipeline/, changes: a run that was
# stopped goes on.
# `coverage.sh tests/…` adds what some files give.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
  set -- tests/pipeline/test_*.py tests/pipeline/runs/test_*.py tests/pipeline/cluster/test_*.py tests/source/test_*.py \
    tests/tensor_dataset/test_*.py tests/command_line/test_{buckets,damage}.py tests/detectors/test_registry.py \
    tests/test_{address_range,cache,direct,explaining,handed_out,hidden_packages,manifest,mapped,own_stages}.py \
    tests/test_{paths,pictures,pinning,quick_commands,ram_budget,ram_cache,remedies,show}.py
fi
folder=$PWD/build/coverage
pipeline=$(find pipeline -name '*.py' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
if [ "$(cat "$folder/pipeline" 2>/dev/null)" != "$pipeline" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  echo "$pipeline" >"$folder/pipeline"
fi
failed=()
for file in "$@"; do
  part=$folder/$(tr / _ <<<"$file")
  if [ "$part/passed" -nt "$file" ]; then continue; fi
  rm -rf "$part"
  mkdir -m 777 "$part" # some tests become another user
  if COVERAGE_FILE=$part/data .venv/bin/python -m coverage run --context="$file" \
    -m pytest -p tests.support.measured -n 0 -q -k 'not kill_spread' --junitxml="$part/tests.xml" "$file"; then
    touch "$part/passed"
  else
    failed+=("$file")
  fi
done
[ ${#failed[@]} = 0 ] || echo "failed, and run again next time: ${failed[*]}"
.venv/bin/python -m coverage combine --quiet --keep "$folder"/*/
.venv/bin/python -m coverage report
.venv/bin/python -m coverage json --quiet -o "$folder/coverage.json"
.venv/bin/python - "$folder/coverage.json" <<'END'
import json, sys

totals = json.load(open(sys.argv[1]))["totals"]
share = totals["covered_branches"] / totals["num_branches"]
print(f"branches alone: {totals['covered_branches']} of {totals['num_branches']}, {share:.1%}")
sys.exit(share < 0.95)
END
[ ${#failed[@]} = 0 ]
