#!/usr/bin/env bash
# Fetch, where there is a network, the wheels that benchmarks/gpu.sh unpacks where there is none:
#   benchmarks/wheels.sh FOLDER
# for Python 3.12 on Linux x86_64; ABI and PLATFORM choose others.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?name the folder that gets the wheels}
mkdir -p "$folder"
${PYTHON:-python3} -m pip download --no-deps --only-binary=:all: --implementation cp \
  --python-version "${ABI:-3.12}" --platform "${PLATFORM:-manylinux_2_28_x86_64}" --platform manylinux2014_x86_64 \
  --platform manylinux_2_17_x86_64 --requirement "$here/wheels.txt" --dest "$folder"
