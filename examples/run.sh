#!/usr/bin/env bash
# Builds and runs the main example, a layer of your own model, the cost calculator, or a model that learns.
#   examples/run.sh [--quick] [--pictures DIR]                       Mixtral against transformers and the roofline
#   examples/run.sh --checkpoint DIR [--layer N] [--x FILE TENSOR]   a layer of a Hugging Face folder, of any family in docs/checkpoints.md
#   examples/run.sh --footprint [ARGUMENTS]                          what a model costs (--list: all of them)
#   examples/run.sh --train [--quick] [--steps N] [--out DIR] [--text FILE...]   trains language models of Coterie layers; writes a report
#   --no-install   do not install what is missing; name it and run what can run
# Installs through apt where that works (root or sudo). Build tree: build/examples.
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

from_caller() { if [[ $1 == /* ]]; then echo "$1"; else echo "$called_from/$1"; fi; }
usage() { sed -n '3,7s/^# \{0,1\}//p' examples/run.sh >&2; exit 2; }
job=mixtral install=1 directory='' layer=() text=() arguments=()
while (($#)); do
  case $1 in
    --no-install) install=0 ;;
    --checkpoint) (($# > 1)) || usage; job=checkpoint directory=$2; shift ;;
    --layer) (($# > 1)) || usage; layer=("$2"); shift ;;
    --footprint) job=footprint; shift; for argument in "$@"; do if [[ $argument == --no-install ]]; then install=0; else arguments+=("$argument"); fi; done; break ;;
    --train) job=train ;;
    --quick) arguments+=("$1") ;;
    --steps) (($# > 1)) || usage; arguments+=("$1" "$2"); shift ;;
    --out) (($# > 1)) || usage; arguments+=("$1" "$(from_caller "$2")"); shift ;;
    --text) text=(--text); while (($# > 1)) && [[ $2 != -* ]]; do text+=("$(from_caller "$2")"); shift; done; ((${#text[@]} > 1)) || usage ;;
    --pictures) (($# > 1)) || usage; arguments+=("$1" "$(from_caller "$2")"); shift ;;
    --x) (($# > 2)) || usage; arguments+=("$1" "$(from_caller "$2")" "$3"); shift 2 ;;
    *) usage ;;
  esac
  shift
done
[[ $job == checkpoint || ${#layer[@]} -eq 0 ]] || usage
[[ $job != checkpoint || " ${arguments[*]} " != *" --quick "* ]] || usage
[[ $job == train || (! " ${arguments[*]} " =~ \ --(steps|out)\  && ${#text[@]} -eq 0) ]] || usage
[[ $job != train || ! " ${arguments[*]} " =~ \ --(pictures|x)\  ]] || usage
mkdir -p build/examples
exec </dev/null

# What is missing, by the name of its Debian package.
compiler() { command -v "${CXX:-g++}" || command -v clang++ || true; }
missing_packages() {
  local cxx
  cxx=$(compiler)
  [[ -n $cxx ]] || echo g++
  command -v cmake >/dev/null || echo cmake
  command -v ninja >/dev/null || echo ninja-build
  if [[ -n $cxx ]]; then echo '#include <nlohmann/json.hpp>' | "$cxx" -E -x c++ - >/dev/null 2>&1 || echo nlohmann-json3-dev
  else [[ -e /usr/include/nlohmann/json.hpp ]] || echo nlohmann-json3-dev; fi
}
install_packages() {
  local as=()
  ((EUID == 0)) || as=(sudo -n)
  command -v apt-get >/dev/null && "${as[@]}" true 2>/dev/null || return 1
  local options=(-qq -y --no-install-recommends -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=120)
  "${as[@]}" apt-get "${options[@]}" update && "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install "$@"
}
mapfile -t missing < <(missing_packages)
if ((${#missing[@]} && install)); then
  echo "installing: ${missing[*]}"
  install_packages "${missing[@]}" >build/examples/install.log 2>&1 || true
  mapfile -t missing < <(missing_packages)
fi
((${#missing[@]})) && echo "missing: ${missing[*]}"
cxx=$(compiler)
[[ -n $cxx ]] || { echo "examples/run.sh: cannot run without a C++ compiler" >&2; exit 1; }
json=1
[[ " ${missing[*]} " == *" nlohmann-json3-dev "* ]] && json=0

quietly() { "$@" >build/examples/build.log 2>&1 || { tail -n 40 build/examples/build.log >&2; exit 1; }; }
# compile SOURCE PROGRAM [FLAGS]: without CMake; nothing when the program is newer than every source.
compile() {
  local source=$1 program=$2
  shift 2
  [[ -x $program && -z $(find include examples bench/machine.hpp bench/kernels.hpp "${@#-I}" \( -name '*.hpp' -o -name '*.cpp' \) -newer "$program" -print -quit) ]] && return
  echo "compiling $source"
  quietly "$cxx" -std=c++20 -O2 -pthread -Iinclude "$@" "$source" -o "$program"
}
# build NAME [SOURCE]: sets `program`.
build() {
  if ! command -v cmake >/dev/null; then
    program=build/examples/$1
    compile "${2:-examples/$1.cpp}" "$program"
    return
  fi
  local generator=()
  program=build/examples/examples/example_$1
  [[ -e build/examples/CMakeCache.txt ]] || { command -v ninja >/dev/null && generator=(-G Ninja); }
  [[ -x $program ]] || echo "building $1"
  quietly cmake -S . -B build/examples "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DCOTERIE_TESTS=OFF -DCOTERIE_BENCH=OFF -DCOTERIE_EXAMPLES=ON -DCOTERIE_INSTALL=OFF
  quietly cmake --build build/examples --target "example_$1"
}

# on_gpu NAME: for the GPU at hand; silent where there is none.
on_gpu() {
  local nvcc capability
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .) && [[ $capability =~ ^[0-9]+$ ]] || return 0
  nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null) || { echo "there is a GPU, but no nvcc: examples/$1.cu is skipped"; return 0; }
  [[ $capability == 90 ]] && capability=90a
  echo "building $1 for the GPU"
  quietly "$nvcc" -std=c++20 -O2 -Iinclude -gencode "arch=compute_$capability,code=sm_$capability" "examples/$1.cu" -o "build/examples/$1"
  "build/examples/$1"
}

case $job in
  footprint)
    build 02_footprint
    "$program" "${arguments[@]}"
    ;;
  checkpoint)
    ((json)) || { echo "examples/run.sh: checkpoints need nlohmann-json3-dev" >&2; exit 1; }
    folder=build/examples/checkpoint
    mkdir -p "$folder"
    compile examples/describe_checkpoint.cpp build/examples/describe_checkpoint
    directory=$(from_caller "$directory")
    made=build/examples/checkpoint_config.made      # not in $folder, which is searched for headers
    build/examples/describe_checkpoint "$directory" "${layer[@]}" >"$made"
    cmp -s "$made" "$folder/checkpoint_config.hpp" || cp "$made" "$folder/checkpoint_config.hpp"
    compile examples/03_checkpoint.cpp "$folder/run" "-I$folder"
    "$folder/run" "$directory" "${arguments[@]}"
    ;;
  train)
    ((json)) || { echo "examples/run.sh: the trained checkpoint is read back, which needs nlohmann-json3-dev" >&2; exit 1; }
    out=build/train_lm
    for ((i = 0; i + 1 < ${#arguments[@]}; ++i)); do [[ ${arguments[i]} != --out ]] || out=${arguments[i + 1]}; done
    build train_lm examples/train_lm/main.cpp
    "$program" "${arguments[@]}" "${text[@]}"
    build train_lm_routes examples/train_lm/routes.cpp
    steps=400
    [[ " ${arguments[*]} " != *" --quick "* ]] || steps=150
    "$program" "$out/checkpoint" "$steps" "${text[@]}"
    ;;
  mixtral)
    if ((json)); then
      build 01_mixtral
      "$program" "${arguments[@]}"
    else
      echo "01_mixtral reads a checkpoint and needs nlohmann-json3-dev; running 04_block and 05_own_router"
      build 04_block && "$program"
      build 05_own_router && "$program"
    fi
    on_gpu 06_cuda
    ;;
esac
