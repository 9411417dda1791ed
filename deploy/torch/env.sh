#!/usr/bin/env bash
# Prints the environment in which Go builds what needs libtorch (build tag torch):
#
#   deploy/setup.sh libtorch
#   eval "$(deploy/torch/env.sh)"
#   go build -tags torch -o bin/radtrain ./cmd/radtrain
#
# gotch asks the linker for CUDA libraries that this build does without; .deps/libtorch/stubs
# holds empty ones. The paths are absolute, so that a binary finds libtorch from anywhere.
# Tests of several packages run side by side: see cmd/radtrain/spin_torch.go for GOMP_SPINCOUNT.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
torch=$root/.deps/libtorch
if [[ ! -r $torch/stamp ]]; then
  echo "torch/env.sh: libtorch is not there: run deploy/setup.sh libtorch" >&2
  exit 1
fi
printf 'export %s=%q\n' \
  GOMP_SPINCOUNT 1000 \
  CGO_ENABLED 1 \
  CGO_CFLAGS '-O2 -w' \
  CGO_CXXFLAGS "-O2 -w -I$torch/include -I$torch/include/torch/csrc/api/include -include $root/deploy/torch/gotch-0.9.1-libtorch-2.11.h" \
  CGO_LDFLAGS "-O2 -L$torch/stubs -L$torch/lib -Wl,-rpath,$torch/lib"
