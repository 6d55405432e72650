#!/usr/bin/env bash
# What a card can do, on a machine with nothing but Python 3.12, PyTorch with CUDA, numpy, scipy, h5py, safetensors and
# tqdm: benchmarks/gpu.sh [FOLDER WITH WHEELS]
#
# Nothing is installed and nothing is downloaded: the checkout is used as it lies, and wheels of what is missing
# (benchmarks/wheels.txt; benchmarks/wheels.sh fetches them where there is a network) are unpacked into a folder that is
# deleted in the end. Results are written after each row to RESULTS (benchmarks/results/gpu): card.json and card.md, so that
# a run that is cut keeps what it has. No row begins after SECONDS_AT_MOST (420).
#
# DEVICE=cpu SIZE=toy benchmarks/gpu.sh runs every row, small, on any machine: to see that they work.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ $# -gt 0 ]; then
  for wheel in "$1"/*.whl; do
    "$python" -m zipfile -e "$wheel" "$scratch"
  done
fi
# The version that a checkout has, where an installation would say it.
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/lossatlas/__init__.py)
mkdir -p "$scratch/lossatlas-$version.dist-info"
printf 'Metadata-Version: 2.1\nName: lossatlas\nVersion: %s\n' "$version" > "$scratch/lossatlas-$version.dist-info/METADATA"
export PYTHONPATH="$PWD/src:$PWD:$scratch" PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
else
  echo "benchmarks/gpu.sh: no nvidia-smi here, so no utilisation is measured" >&2
fi
"$python" -m benchmarks.card --device "${DEVICE:-cuda}" --size "${SIZE:-full}" \
  --out "${RESULTS:-benchmarks/results/gpu}" --seconds "${SECONDS_AT_MOST:-420}"
