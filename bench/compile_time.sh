#!/usr/bin/env bash
# What including Coterie costs, medians; and the CUDA backend, where there is nvcc.      bench/compile_time.sh [COMPILER, g++] [RUNS, 5]
# ARCHITECTURES ("80 90a"), NVCC (nvcc). Exit code 1: far beyond a budget. What counts is the processor's time, user and system, of which a
# loaded machine takes more (1.8 times as much for an empty .cu, with five programs on two cores): refused is what is beyond twice a budget.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compiler=${1:-g++} runs=${2:-5} slack=2 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo '#include <coterie/coterie.hpp>' >"$work/include.cpp"
cat >"$work/mixtral.cpp" <<'CODE'
#include <coterie/coterie.hpp>
namespace ct = coterie;
constexpr ct::Config mixtral = ct::presets::mixtral_8x7b;
void run(ct::Host const& on, ct::PackedView<mixtral, ct::Host> weights, ct::Rows<ct::bf16 const, 4096> x, ct::Rows<ct::bf16, 4096> y, std::span<std::byte> memory) {
  ct::Layer<mixtral, ct::Host>{weights}.forward(on, x, y, memory);
}
CODE
# Of `runs` compilations the one whose wall time is the median: wall and processor seconds.
median() {
  local TIMEFORMAT='%R %U %S' i
  for ((i = 0; i < runs; ++i)); do { time "$compiler" -std=c++20 -Iinclude "$@" -c -o "$work/out.o" >"$work/log" 2>&1; } 2>&1 || { cat "$work/log" >&2; return 1; }; done |
    sort -n | awk -v middle="$(((runs + 1) / 2))" 'NR == middle { printf "%.2f %.2f\n", $1, $2 + $3 }'
}
measure() {                                       # NAME BUDGET BASE COMPILER_ARGUMENTS...: sets `processor`; the budget is beside the base's, 0: none
  local name=$1 budget=$2 base=$3 times wall want=""
  shift 3
  times=$(median "$@") || { echo "$name: does not compile" >&2; exit 1; }
  read -r wall processor <<<"$times"
  if [[ $budget != 0 ]]; then want=" (budget $budget s$([[ $base == 0 ]] || echo " more than $base s"))"; fi
  printf '%-46s %6.2f s, %5.2f s of processor%s\n' "$name" "$wall" "$processor" "$want"
  if awk "BEGIN { exit !($budget > 0 && $processor - $base > $slack * $budget) }"; then echo "REFUSED: beyond $slack times the budget: $name"; failed=1; fi
}
"$compiler" --version | head -n 1
measure "#include <coterie/coterie.hpp>, -O0" 1 0 -O0 "$work/include.cpp"
measure "Mixtral layer on the host, forward(), -O2" 8 0 -O2 "$work/mixtral.cpp"

nvcc=${NVCC:-nvcc}
command -v "$nvcc" >/dev/null || { echo "nvcc is missing: the CUDA backend's cost is not measured"; exit $failed; }
compiler=$nvcc
echo '#include <coterie/cuda.cuh>' >"$work/include.cu"
echo '__global__ void nothing_kernel() {}' | tee -a "$work/include.cu" >"$work/empty.cu"
sed 's/coterie\.hpp/cuda.cuh/; s/Host/Cuda/g' "$work/mixtral.cpp" >"$work/mixtral.cu"
"$nvcc" --version | sed -n 's/^Cuda/nvcc: &/p'
for architecture in ${ARCHITECTURES:-80 90a}; do
  for_one=(-gencode "arch=compute_$architecture,code=sm_$architecture")
  measure "An empty .cu, sm_$architecture" 0 0 "${for_one[@]}" "$work/empty.cu"
  measure "#include <coterie/cuda.cuh>, sm_$architecture" 3 "$processor" "${for_one[@]}" "$work/include.cu"
  measure "Mixtral layer, forward(), sm_$architecture" 60 0 "${for_one[@]}" "$work/mixtral.cu"
done
exit $failed
