#!/usr/bin/env bash
# Files that use one Config, linked in either order. Compiled for other architectures than its neighbour, the file whose host code the linker
# drops is refused with a sentence; compiled alike, both get as far as the runtime, which on a machine without a driver is a CudaError.
#   tests/cuda/compile/mixed/run.sh      NVCC=nvcc  INCLUDE=include
# Exit code 77: there is no nvcc, or no runtime to link.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
nvcc=${NVCC:-nvcc}
command -v "$nvcc" >/dev/null || { echo "skipped: nvcc is missing"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile() { "$nvcc" -std=c++20 -O0 -I"${INCLUDE:-$here/../../../../include}" -gencode arch=compute_80,code=sm_80 "${@:3}" -Xptxas -O0 -c "$here/$1.cu" -o "$work/$2"; }
compile first both.o -gencode arch=compute_90a,code=sm_90a &
compile first one.o
compile second two.o
wait
link() { "$nvcc" -cudart shared "$work/$1" "$work/$2" -o "$work/program" 2>"$work/log" || { cat "$work/log"; echo "skipped: programs of CUDA do not link here"; exit 77; }; }
export LD_LIBRARY_PATH=$(dirname "$(command -v "$nvcc")")/../lib64:${LD_LIBRARY_PATH:-}
failed=0
for order in "both.o two.o" "two.o both.o"; do
  link $order
  said=$("$work/program")
  echo "$order: $said"
  [[ $(grep -c "made by code compiled for sm_80[0-9]*, used by code compiled for sm_80[0-9]*" <<<"$said") == 1 ]] || { echo "REFUSED: one of the two must be refused, with the reason"; failed=1; }
done
link one.o two.o
said=$("$work/program")
echo "compiled alike: $said"
! grep "used by code" <<<"$said" || { echo "REFUSED: compiled alike"; failed=1; }
nvidia-smi >/dev/null 2>&1 || [[ $(grep -c "coterie: CUDA: cuda" <<<"$said") == 2 ]] || { echo "REFUSED: without a driver every call is a CudaError"; failed=1; }
exit $failed
