#!/usr/bin/env bash
# Makes the goldens again: a virtual environment under build/, then make.py.   Usage: tests/golden/make.sh [family ...]
# Torch is installed without the gigabytes of CUDA libraries its wheel asks for: what the loader wants of them is
# answered by empty stand-ins, since nothing here ever runs on a device. (pip complains of what it does not find.)
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${GOLDEN_VENV:-build/golden-venv}
python=${PYTHON:-python3}

if [ ! -e "$venv/ready" ]; then
    "$python" -m venv "$venv"
    pip() { "$venv/bin/pip" install -q --no-cache-dir "$@"; }
    pip --no-deps torch==2.15.0 nvidia-cuda-runtime==13.5.37 nvidia-cuda-cupti==13.5.25
    pip filelock==4.2.11 typing-extensions==4.16.0 sympy==1.14.0 networkx==3.6.1 jinja2==3.1.6 fsspec==2026.9.0 numpy==2.4.6 \
        ml_dtypes==0.6.0 safetensors==0.8.0 requests==2.34.2 transformers==5.23.0 tokenizers==0.23.3 onnx==1.23.2 onnxruntime==1.31.1
    pip --no-deps --target "$venv/v4" transformers==4.57.6 tokenizers==0.22.2 huggingface-hub==0.36.0

    lib=$(echo "$venv"/lib/python3*/site-packages/torch/lib)
    for soname in $(readelf -dW "$lib"/*.so | awk -F'[][]' '/NEEDED/ { print $2 }' |
                    grep -E '^lib(cu|nccl|nvrtc|nvshmem)' | grep -vE 'cudart|cupti' | sort -u); do
        version=$soname; [[ $soname != libnvshmem* ]] || version=NVSHMEM
        echo "$version { *; };" > "$venv/version.map"
        nm -D --undefined-only --with-symbol-versions "$lib"/libtorch*.so |
            awk -v so="$soname" -v version="$version" '{ n = split($2, s, "@") }
                n > 1 ? s[n] == version : so ~ /nccl/ && s[1] ~ /^(nccl|cu)/ { print "void " s[1] "(void) {}" }' |
            sort -u | cc -shared -x c - -w -Wl,--version-script="$venv/version.map" -Wl,-soname,"$soname" -o "$lib/$soname"
    done
    touch "$venv/ready"
fi
if [ ! -e "$venv/quantised/ready" ]; then                # what quantise.py asks, and of their needs only what is imported
    "$venv/bin/pip" install -q --no-cache-dir --no-deps --target "$venv/quantised" compressed-tensors==0.20.0 autoawq==0.2.9 gptqmodel==7.7.0 \
        accelerate==1.15.0 defuser==0.0.28 device-smi==0.5.7 logbar==0.4.15 loguru==0.7.3 pillow==13.0.0 psutil==7.2.2 pypcre==0.6.4 \
        threadpoolctl==3.8.0 tokenicer==0.0.14
    touch "$venv/quantised/ready"
fi

"$venv/bin/python" tests/golden/make.py "$@"
[[ " $* " == *" --check "* ]] || { "$venv/bin/python" tests/golden/onnxruntime_moe.py; "$venv/bin/python" tests/golden/gradients.py "$@"; }
