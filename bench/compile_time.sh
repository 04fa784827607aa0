#!/usr/bin/env bash
# What including Coterie costs, medians; and the CUDA backend, where there is nvcc.      bench/compile_time.sh [COMPILER, g++] [RUNS, 5]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compiler=${1:-g++} runs=${2:-5}
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
median() {                                        # of `runs` compilations: wall and processor seconds
  local TIMEFORMAT='%R %U' i
  for ((i = 0; i < runs; ++i)); do { time "$compiler" -std=c++20 -Iinclude "$@" -c -o "$work/out.o"; } 2>&1; done |
    sort -n | sed -n "$(((runs + 1) / 2))p"
}
report() { printf '%-46s %6.2f s, %5.2f s of processor (target %s s)\n' "$1" "${3% *}" "${3#* }" "$2"; }
"$compiler" --version | head -n 1
report "#include <coterie/coterie.hpp>, -O0" 1.0 "$(median -O0 "$work/include.cpp")"
report "Mixtral layer on the host, forward(), -O2" 8.0 "$(median -O2 "$work/mixtral.cpp")"

command -v nvcc >/dev/null || { echo "nvcc is missing: the CUDA backend's cost is not measured"; exit; }
compiler=nvcc
echo '#include <coterie/cuda.cuh>' >"$work/include.cu"
echo '__global__ void nothing_kernel() {}' | tee -a "$work/include.cu" >"$work/empty.cu"
sed 's/coterie\.hpp/cuda.cuh/; s/Host/Cuda/g' "$work/mixtral.cpp" >"$work/mixtral.cu"
nvcc --version | sed -n 's/^Cuda/nvcc: &/p'
for architecture in 80 90a; do
  for_one=(-gencode "arch=compute_$architecture,code=sm_$architecture")
  report "An empty .cu, sm_$architecture" - "$(median "${for_one[@]}" "$work/empty.cu")"
  report "#include <coterie/cuda.cuh>, sm_$architecture" "3 more" "$(median "${for_one[@]}" "$work/include.cu")"
  report "Mixtral layer, forward(), sm_$architecture" 60 "$(median "${for_one[@]}" "$work/mixtral.cu")"
done
