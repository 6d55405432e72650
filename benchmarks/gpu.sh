#!/usr/bin/env bash
# The benchmarks on a CUDA device, with 10,000 images: benchmarks/gpu.sh [FOLDER WITH THE AUTHORS' NETWORK]
#
# TORCH chooses the build of PyTorch, for instance TORCH="torch --index-url <a CUDA index>". Results are written to
# benchmarks/results/gpu/; each way's GPU utilisation, sampled by nvidia-smi, stands in the JSON.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath "${1:-.}")
make .bench/.ready
if ! .bench/bin/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "benchmarks/gpu.sh: there is no CUDA device here, or this build of PyTorch ($(.bench/bin/python -c \
    'import torch; print(torch.__version__)')) cannot use it; nothing was measured" >&2
  exit 3
fi
command -v nvidia-smi >/dev/null || echo "benchmarks/gpu.sh: no nvidia-smi here, so no utilisation is measured" >&2
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv 2>/dev/null || true
make bench DEVICE=cuda RESULTS=benchmarks/results/gpu DATA="${1:+$folder}" BENCH_FLAGS="--images 10000"
