#!/usr/bin/env bash
# Measures which branches of pipeline/ its tests take, in every process that they start, and fails below 95 %.
# Files run one by one, so that what a process did is known by the file that started it: scripts/mutants.py
# needs that. `coverage.sh tests/…` measures some files alone.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
  set -- tests/pipeline/test_*.py tests/pipeline/runs/test_*.py tests/pipeline/cluster/test_*.py tests/source/test_*.py \
    tests/tensor_dataset/test_*.py tests/command_line/test_{buckets,damage}.py tests/detectors/test_registry.py \
    tests/test_{cache,direct,explaining,handed_out,hidden_packages,manifest,mapped,own_stages,paths,pictures}.py \
    tests/test_{quick_commands,ram_budget,ram_cache,remedies,show}.py
fi
folder=$PWD/build/coverage
rm -rf "$folder"
mkdir -p -m 777 "$folder" # some tests become another user
for file in "$@"; do
  .venv/bin/python -m coverage run --context="$file" -m pytest -p tests.support.measured -n 0 -q -k 'not kill_spread' \
    --junitxml="$folder/$(tr / _ <<<"$file").xml" "$file"
done
.venv/bin/python -m coverage combine --quiet
.venv/bin/python -m coverage report --fail-under=95
